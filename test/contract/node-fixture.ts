// What the fixtures of data planes that use the kernel have in common: a node's namespace, workloads' namespaces, and
// how they are looked at from outside.

import { closeSync, openSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

import { dumpAddresses, parseAddress } from '../../protocols/netlink/address.ts';
import {
  changeLinkByName,
  createVeth,
  deleteLinkByName,
  dumpLinks,
  getLinkByName,
  type Link,
  parseLink,
} from '../../protocols/netlink/link.ts';
import type { Netlink } from '../../protocols/ports/netlink.ts';
import { inNamespace } from '../../transports/netlink/namespace-switch.ts';
import type { Sandbox } from '../sandbox/namespaces.ts';
import type { DataplaneFixture, TestNamespace } from './dataplane-fixture.ts';

const budget = { timeoutMs: 10_000 };

export type NodeFixture = Pick<
  DataplaneFixture,
  'namespace' | 'interfaceIn' | 'setInterfaceUp' | 'addForeign' | 'foreignCount' | 'deleteInterface'
> & {
  /** Node-side links of wires of any owner. */
  wireLinks(): Promise<readonly Link[]>;
  /** As in `CarryingFixture`. */
  echoRequestsIn(namespace: TestNamespace): Promise<number>;
};

/** `netlink` is in the node's namespace. */
export function nodeFixture(sandbox: Sandbox, netlink: Netlink): NodeFixture {
  const query = async (requests: Parameters<typeof sandbox.program>[1], namespace?: string) => {
    const place = namespace === undefined ? {} : { namespace };
    const outcome = await netlink.execute([{ ...place, protocol: 'route', requests }], budget);
    if (!outcome.ok) throw new Error(`${outcome.failure.what}: ${outcome.failure.found}`);
    return (outcome.answers[0] ?? []).map(({ messages }) => messages);
  };
  const nodeLinks = async () => {
    const [messages = []] = await query([{ message: dumpLinks(), what: 'list links' }]);
    return messages.flatMap((message) => parseLink(message) ?? []);
  };
  return {
    namespace: () => sandbox.namespace(),
    async interfaceIn({ url }, name) {
      const [links = [], addresses = []] = await query(
        [
          { message: getLinkByName(name), what: `find ${name}`, tolerate: [19] },
          { message: dumpAddresses(), what: 'list addresses' },
        ],
        url,
      );
      const link = links[0] === undefined ? undefined : parseLink(links[0]);
      if (link === undefined) return undefined;
      const found = addresses.flatMap((message) => parseAddress(message) ?? []);
      const own = found.filter(({ index, prefix }) => {
        return index === link.index && !prefix.startsWith('fe80');
      });
      const { index, macAddress, mtu, asksNeighbors } = link;
      return {
        index,
        macAddress,
        mtu,
        asksNeighbors,
        addresses: own.map(({ prefix }) => prefix).sort(),
      };
    },
    async setInterfaceUp({ url }, name, isUp) {
      const message = changeLinkByName(name, { isUp });
      await query([{ message, what: `set ${name}` }], url);
    },
    async wireLinks() {
      const links = await nodeLinks();
      return links.filter(({ name }) => name.startsWith('vw') && name !== 'vwforeign');
    },
    async addForeign({ url }) {
      const namespaceDescriptor = { namespaceDescriptor: url };
      const peer = { name: 'foreign', namespaceDescriptor };
      const message = createVeth({ name: 'vwforeign', group: 0, mtu: 0, peer });
      await query([{ message, what: 'create a foreign link' }]);
      const rename = changeLinkByName('vwforeign', { alias: 'vwire/1 i=theirs f=x w=y e=client' });
      await query([{ message: rename, what: 'tag a foreign link' }]);
    },
    async foreignCount() {
      return (await nodeLinks()).filter(({ name }) => name === 'vwforeign').length;
    },
    async echoRequestsIn({ url }) {
      const descriptor = openSync(fileURLToPath(url), 'r');
      try {
        const text = inNamespace(descriptor, () =>
          readFileSync('/proc/thread-self/net/snmp', 'utf8'),
        );
        const [names = [], counts = []] = text
          .split('\n')
          .filter((line) => line.startsWith('Icmp: '))
          .map((line) => line.split(' '));
        return Number(counts[names.indexOf('InEchos')]);
      } finally {
        closeSync(descriptor);
      }
    },
    async deleteInterface({ url }, name) {
      await query([{ message: deleteLinkByName(name), what: `delete ${name}` }], url);
    },
  };
}
