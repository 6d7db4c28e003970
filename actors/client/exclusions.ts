// What the connections of one client keep from each other: no Endpoint may give a connection an address that another one
// of the same client has, unless both are in one awareness group. NSM concept: excludedprefixes at the client.
// Invariants: everything follows from what the connections hold now, so a refresh changes nothing and the end of a
// connection frees what it held; of an answer's excluded prefixes only those are passed on that others put in.

import { create } from '@bufbuild/protobuf';
import { NsmError } from '../../protocols/errors.ts';
import {
  formatPrefix,
  hostPrefix,
  isHostPrefix,
  parseCidr,
  prefixOf,
} from '../../protocols/ipam/address.ts';
import { limits } from '../../protocols/limits.ts';
import type { Connection } from '../../protocols/nsm/gen/connection_pb.ts';
import {
  ConnectionContextSchema,
  type IPContext,
  IPContextSchema,
} from '../../protocols/nsm/gen/connectioncontext_pb.ts';

interface Held {
  /** Addresses and host routes, as host prefixes. */
  readonly hosts: ReadonlySet<string>;
  /** Excluded by others than this client; passed on only by connections outside of groups. */
  readonly told: readonly string[];
}

export class Exclusions {
  readonly #groupOf: (connectionId: string) => number | undefined;
  readonly #held = new Map<string, Held>();
  /** What each connection was last sent with on behalf of the others. */
  readonly #sent = new Map<string, ReadonlySet<string>>();

  constructor(groupOf: (connectionId: string) => number | undefined) {
    this.#groupOf = groupOf;
  }

  /** The connection with what the others hold excluded, and no longer what they held before. */
  prepare(id: string, connection: Connection): Connection {
    const before = this.#sent.get(id);
    const own = hostsOf(connection.context?.ipContext);
    const excluded = new Set(this.#againstOf(id).filter((each) => !own.has(each)));
    if (before === undefined && excluded.size === 0) return connection;
    if (excluded.size === 0) this.#sent.delete(id);
    else this.#sent.set(id, excluded);
    const context = connection.context ?? create(ConnectionContextSchema);
    const ip = context.ipContext ?? create(IPContextSchema);
    const others = ip.excludedPrefixes.filter((each) => before?.has(each) !== true);
    const all = [...new Set([...others, ...excluded])];
    // Past the bound of a message the check of the answer alone keeps addresses apart.
    const excludedPrefixes = all.slice(0, limits.listEntries);
    return { ...connection, context: { ...context, ipContext: { ...ip, excludedPrefixes } } };
  }

  /**
   * Takes the answer over. Throws ABORTED where it has an address that another connection holds by now; then nothing has
   * changed. `asked`: what the connection had before, which stays its own.
   */
  accept(id: string, asked: Connection | undefined, answer: Connection): void {
    const own = hostsOf(asked?.context?.ipContext);
    const ip = answer.context?.ipContext;
    for (const address of addressesOf(ip)) {
      if (own.has(address)) continue;
      const holder = this.#holderOf(id, address);
      if (holder !== undefined) throw taken(id, address, { holder, answer });
    }
    const sent = this.#sent.get(id);
    const told = (ip?.excludedPrefixes ?? []).filter((each) => sent?.has(each) !== true);
    this.#held.set(id, { hosts: hostsOf(ip), told });
  }

  /** The connection is over. */
  release(id: string): void {
    this.#held.delete(id);
    this.#sent.delete(id);
  }

  #againstOf(id: string): readonly string[] {
    const group = this.#groupOf(id);
    const against: string[] = [];
    for (const [other, { hosts, told }] of this.#held) {
      if (other === id) continue;
      const otherGroup = this.#groupOf(other);
      if (group !== undefined && group === otherGroup) continue;
      against.push(...hosts, ...(otherGroup === undefined ? told : []));
    }
    return against;
  }

  #holderOf(id: string, address: string): string | undefined {
    const group = this.#groupOf(id);
    for (const [other, { hosts }] of this.#held) {
      const areAware = group !== undefined && group === this.#groupOf(other);
      if (other !== id && !areAware && hosts.has(address)) return other;
    }
    return undefined;
  }
}

/** Of both ends, each as a host prefix whatever its length. */
function addressesOf(ip: IPContext | undefined): readonly string[] {
  return [...(ip?.srcIpAddrs ?? []), ...(ip?.dstIpAddrs ?? [])].flatMap((text) => {
    const cidr = parseCidr(text);
    return cidr === undefined ? [] : [formatPrefix(hostPrefix(cidr.address))];
  });
}

function hostsOf(ip: IPContext | undefined): ReadonlySet<string> {
  const routes = [...(ip?.srcRoutes ?? []), ...(ip?.dstRoutes ?? [])].flatMap(({ prefix }) => {
    const cidr = parseCidr(prefix);
    const target = cidr === undefined ? undefined : prefixOf(cidr.address, cidr.lengthBits);
    return target !== undefined && isHostPrefix(target) ? [formatPrefix(target)] : [];
  });
  return new Set([...addressesOf(ip), ...routes]);
}

function taken(
  connectionId: string,
  address: string,
  { holder, answer }: { readonly holder: string; readonly answer: Connection },
): NsmError {
  const endpoint = answer.networkServiceEndpointName;
  return new NsmError('ABORTED', 'the Endpoint gave an address that this client already has', {
    rule: 'excluded-prefixes',
    expected: `addresses that no other connection of the client has, unless both are in one awareness group`,
    found: `${address} of ${endpoint}, which connection ${holder} has`,
    remedy:
      'it is asked again; give the Endpoints disjoint prefixes, or name both requests in NSM_AWARENESS_GROUPS',
    connectionId,
  });
}
