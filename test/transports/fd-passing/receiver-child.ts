// A process of another PID namespace that serves NetworkService over a unix socket with TLS: it sees no process but its
// own, so a namespace that it is asked for is there only as a descriptor. It names the links in it by their number, and
// answers with a namespace of its own that nobody else can see.
// Arguments: socket to listen on, Workload API. Says "ready" on standard output; ends with its standard input.

import { closeSync } from 'node:fs';
import { create } from '@bufbuild/protobuf';
import { EmptySchema } from '@bufbuild/protobuf/wkt';
import { ConnectionSchema } from '../../../protocols/nsm/gen/connection_pb.ts';
import { NetworkService } from '../../../protocols/nsm/gen/networkservice_pb.ts';
import { kernelMechanism, readKernel } from '../../../protocols/nsm/kernel-mechanism.ts';
import { silentLog } from '../../../protocols/ports/log.ts';
import { serve } from '../../../protocols/ports/rpc.ts';
import { withReceivedFiles } from '../../../transports/fd-passing/connection-files.ts';
import { createFdPassing } from '../../../transports/fd-passing/fd-passing.ts';
import { HeldDescriptors } from '../../../transports/fd-passing/held-descriptors.ts';
import { createGrpc } from '../../../transports/grpc/grpc.ts';
import { findNamespace, openNamespace } from '../../../transports/netlink/namespace-url.ts';
import { createNetworkNamespace } from '../../../transports/netlink/network-namespace.ts';
import { systemClock, systemWallClock } from '../../../transports/process/system-clock.ts';
import { followIdentity } from '../../sandbox/identities.ts';

const [url = '', workloadApi = ''] = process.argv.slice(2);
const identity = await followIdentity(workloadApi);
const own = createNetworkNamespace();
const held = new HeldDescriptors({ find: findNamespace });
const clock = systemClock;
const { listener } = createGrpc({
  clock,
  tls: { identity, wallClock: systemWallClock },
  fdPassing: createFdPassing({ clock, log: silentLog }),
});

const service = serve(NetworkService, {
  request: ({ mechanismPreferences: [asked] }) => {
    if (asked === undefined) throw new Error('the request names no namespace');
    closeSync(openNamespace(readKernel(asked).netnsUrl));
    const mechanism = kernelMechanism({ netnsUrl: own.inodeUrl, interfaceName: 'nse-1' });
    // What it had to open proves that the namespace was reached.
    return Promise.resolve(create(ConnectionSchema, { id: readKernel(asked).netnsUrl, mechanism }));
  },
  close: () => Promise.resolve(create(EmptySchema)),
});

const listening = await listener.listen(url, withReceivedFiles([service], held));
process.stdout.write('ready\n');
process.stdin.resume().on('end', () => {
  void listening.close(0).then(() => process.exit(0));
});
