// Protects a client from the MAC of an Endpoint that is gone: where another one has its address with another MAC, the
// probes make the kernel learn it within moments, in both families, without a right to administrate the network.

import { setTimeout as pause } from 'node:timers/promises';
import { afterEach, describe, expect, it } from 'vitest';
import { addAddress } from '../../../protocols/netlink/address.ts';
import { parseMac, parsePrefix } from '../../../protocols/netlink/ip-address.ts';
import { changeLink, createVeth, getLinkByName } from '../../../protocols/netlink/link.ts';
import type { NetlinkRequest } from '../../../protocols/ports/netlink.ts';
import { silentLog } from '../../../protocols/ports/log.ts';
import { echoLines } from '../../../transports/icmp/echo-line.ts';
import { createSandbox, type Sandbox, whyNoNamespaces } from '../../sandbox/namespaces.ts';

const reason = whyNoNamespaces();
const interfaceName = 'wire';

describe.skipIf(reason !== undefined)(`another MAC at the same address ${reason ?? ''}`, () => {
  let sandbox: Sandbox;

  afterEach(() => sandbox.close());

  it.each([
    { source: '10.255.1.1', destination: '10.255.1.2', length: 24 },
    { source: 'fd00:255::1', destination: 'fd00:255::2', length: 64 },
  ])('is learnt soon: $destination', async ({ source, destination, length }) => {
    sandbox = createSandbox();
    const [client, endpoint] = [sandbox.namespace(), sandbox.namespace()];
    const peer = {
      name: interfaceName,
      namespaceDescriptor: { namespaceDescriptor: endpoint.url },
    };
    const message = createVeth({ name: interfaceName, group: 0, mtu: 1500, peer });
    await sandbox.program(client, [{ message, what: 'make the wire' }]);
    await sandbox.program(endpoint, upWith(`${destination}/${length}`));
    await sandbox.program(client, upWith(`${source}/${length}`));
    const open = echoLines({ log: silentLog, namespace: client.url });
    const answers = async (): Promise<boolean> => {
      const line = open({ source, destination }, interfaceName);
      if (line === undefined) throw new Error('no line');
      let isAnswered = false;
      for (let sequence = 0; sequence < 400 && !isAnswered; sequence += 1) {
        line.send(sequence);
        await pause(20);
        isAnswered = [...line.receive()].length > 0;
      }
      line.close();
      return isAnswered;
    };
    expect(await answers()).toBe(true);
    // Silently: the kernel announces nothing by default.
    await sandbox.program(endpoint, change({ macAddress: parseMac('02:00:00:00:ff:01') }));
    expect(await answers()).toBe(true);
  });
});

function upWith(address: string): NetlinkRequest[] {
  const index = { register: 'link' };
  return [
    ...change({ isUp: true }),
    { message: addAddress(index, parsePrefix(address)), what: `add ${address}` },
  ];
}

function change(how: Omit<Parameters<typeof changeLink>[0], 'index'>): NetlinkRequest[] {
  return [
    {
      message: getLinkByName(interfaceName),
      what: 'find the interface',
      store: { register: 'link', offset: 4 },
    },
    { message: changeLink({ index: { register: 'link' }, ...how }), what: 'change it' },
  ];
}
