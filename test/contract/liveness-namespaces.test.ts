// Protects the liveness of real wires: echoes over a veth between two network namespaces.

import { readdirSync } from 'node:fs';
import { setTimeout as pause } from 'node:timers/promises';
import { describe } from 'vitest';
import { createEchoJudge } from '../../actors/client/echo-judge.ts';
import { createEchoLiveness } from '../../actors/client/echo-liveness.ts';
import { createEchoRounds } from '../../actors/client/echo-rounds.ts';
import { addAddress } from '../../protocols/netlink/address.ts';
import { parsePrefix } from '../../protocols/netlink/ip-address.ts';
import { changeLink, createVeth, getLinkByName } from '../../protocols/netlink/link.ts';
import { silentLog } from '../../protocols/ports/log.ts';
import { echoLines } from '../../transports/icmp/echo-line.ts';
import type { NetworkNamespace } from '../../transports/netlink/network-namespace.ts';
import { systemClock } from '../../transports/process/system-clock.ts';
import { createSandbox, type Sandbox, whyNoNamespaces } from '../sandbox/namespaces.ts';
import {
  clientAddresses,
  endpointAddresses,
  interfaceName,
  livenessContract,
  type LivenessWorld,
} from './liveness.ts';

const reason = whyNoNamespaces();

const judges = {
  continuous: (startMs: number) =>
    createEchoJudge({ intervalMs: 20, missedMax: 10, firstAnswerMs: 4_000 }, startMs),
  rounds: (startMs: number) => createEchoRounds({ intervalMs: 20, timeoutMs: 3_000 }, startMs),
};

async function waitFor(isSo: () => boolean): Promise<boolean> {
  for (let turn = 0; turn < 2_000 && !isSo(); turn += 1) await pause(5);
  return isSo();
}

async function setLink(
  sandbox: Sandbox,
  namespace: NetworkNamespace,
  isUp: boolean,
  addresses: readonly string[],
): Promise<void> {
  const index = { register: 'link' };
  await sandbox.program(namespace, [
    {
      message: getLinkByName(interfaceName),
      what: 'find the interface',
      store: { register: 'link', offset: 4 },
    },
    { message: changeLink({ index, isUp }), what: 'set it up or down' },
    ...addresses.map((address) => ({
      message: addAddress(index, parsePrefix(address)),
      what: `add ${address}`,
    })),
  ]);
}

describe.skipIf(reason !== undefined).each(['continuous', 'rounds'] as const)(
  `echoes between namespaces ${reason ?? ''}, %s`,
  (which) => {
    livenessContract(async (): Promise<LivenessWorld> => {
      const sandbox = createSandbox();
      const [client, endpoint] = [sandbox.namespace(), sandbox.namespace()];
      const descriptors = readdirSync('/proc/self/fd').length;
      await sandbox.program(client, [
        {
          message: createVeth({
            name: interfaceName,
            group: 0,
            mtu: 1500,
            peer: {
              name: interfaceName,
              namespaceDescriptor: { namespaceDescriptor: endpoint.url },
            },
          }),
          what: 'make the wire',
        },
      ]);
      const cidrs = (addresses: readonly string[]) =>
        addresses.map((each) => `${each}/${each.includes(':') ? 64 : 24}`);
      await setLink(sandbox, endpoint, true, cidrs(endpointAddresses));
      await setLink(sandbox, client, true, cidrs(clientAddresses));
      const ipv6 = clientAddresses.filter((each) => each.includes(':'));
      const ipv6AtEndpoint = endpointAddresses.filter((each) => each.includes(':'));
      return {
        liveness: createEchoLiveness({
          clock: systemClock,
          open: echoLines({ log: silentLog, namespace: client.url }),
          judge: judges[which],
          confirmMsMax: 5_000,
        }),
        // The kernel takes the IPv6 addresses of an interface that is set down.
        setEndpoint: (isThere) =>
          setLink(sandbox, endpoint, isThere, isThere ? cidrs(ipv6AtEndpoint) : []),
        setInterface: (isUp) => setLink(sandbox, client, isUp, isUp ? cidrs(ipv6) : []),
        until: waitFor,
        linger: () => pause(600),
        run: (work) => work,
        async close() {
          await sandbox.close();
          await waitFor(() => readdirSync('/proc/self/fd').length <= descriptors);
        },
      };
    });
  },
);
