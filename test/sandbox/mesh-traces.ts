// What vwire has in the namespace of a node, read from the kernel and not from vwire: links with its tag or name,
// its nf_tables tables and the entries of their sets.

import type { MeshNode } from '../../bin/demo/mesh.ts';
import { linksOf } from '../../bin/demo/namespace-links.ts';
import { NetlinkWriter, parseAttributes, readText } from '../../protocols/netlink/codec.ts';
import { flag } from '../../protocols/netlink/constants.ts';
import { dumpElements, parseElementKeys } from '../../protocols/netlink/nftables.ts';
import type { Netlink, NetlinkRequest } from '../../protocols/ports/netlink.ts';

/** NFNL_SUBSYS_NFTABLES and NFT_MSG_GETTABLE of linux/netfilter/nfnetlink.h and nf_tables.h. */
const getTables = (10 << 8) | 1;
const setNames = ['allowed4', 'guarded4', 'allowed6', 'guarded6'];

/** One line per object; nothing of foreign objects, whatever they are called. */
export async function tracesIn(
  netlink: Netlink,
  nodes: readonly MeshNode[],
): Promise<readonly string[]> {
  const found: string[] = [];
  for (const node of nodes) {
    const links = await linksOf(netlink, node.namespace.url);
    const ours = links.filter(({ alias, name }) => isTagged(alias) || isNamed(name));
    found.push(...ours.map(({ name, alias }) => `${node.name} link ${name} ${alias}`));
    for (const table of await tablesIn(netlink, node.namespace.url)) {
      found.push(`${node.name} table ${table}`);
      for (const entry of await entriesOf(netlink, node, table)) {
        found.push(`${node.name} table ${table} ${entry}`);
      }
    }
  }
  return found;
}

const isTagged = (alias: string): boolean => alias.startsWith('vwire/');
/** `vw`, five digits of the owner, a letter for the role, seven digits of the wire. */
const isNamed = (name: string): boolean =>
  /^vw[0-9a-hjkmnp-tv-z]{5}[abcdx][0-9a-hjkmnp-tv-z]{7}$/.test(name);

/** The nf_tables tables of vwire in a namespace. */
export async function tablesIn(netlink: Netlink, namespace: string): Promise<readonly string[]> {
  const message = new NetlinkWriter(getTables, flag.request | flag.dump).u8(0).u8(0).be16(0);
  const tables = await dump(netlink, namespace, {
    message: message.finish(),
    what: 'list nf_tables',
  });
  return tables
    .map(({ payload }) => readText(parseAttributes(payload, 4).get(1)) ?? '')
    .filter((name) => name.startsWith('vwire-'));
}

async function entriesOf(netlink: Netlink, node: MeshNode, table: string): Promise<string[]> {
  const entries: string[] = [];
  for (const set of setNames) {
    const what = `list ${set} of ${table}`;
    const messages = await dump(netlink, node.namespace.url, {
      message: dumpElements(table, set),
      what,
    });
    const keys = messages.flatMap((message) => parseElementKeys(message));
    entries.push(...keys.map((key) => `${set} ${key.join('.')}`));
  }
  return entries;
}

async function dump(netlink: Netlink, namespace: string, request: NetlinkRequest) {
  const step = {
    namespace,
    protocol: 'netfilter' as const,
    requests: [request],
  };
  const outcome = await netlink.execute([step], { timeoutMs: 10_000 });
  if (!outcome.ok) throw new Error(`${outcome.failure.what}: ${outcome.failure.found}`);
  return outcome.answers[0]?.[0]?.messages ?? [];
}
