// What of a connection can be probed from its client's end: every pair of a source and a destination address of the
// same family, through the client's interface. Pure; as the reference's kernel liveness check chooses its pairs.

import { parsePrefix } from '../ipam/address.ts';
import type { Connection } from './gen/connection_pb.ts';
import { mechanismType, parameter, parameterKey } from './mechanism.ts';

export interface AddressPair {
  /** Without prefix lengths. */
  readonly source: string;
  readonly destination: string;
}

export interface ProbedWire {
  /** The client's interface; empty where the mechanism does not name it. */
  readonly interfaceName: string;
  readonly pairs: readonly AddressPair[];
}

/** Pairs that are probed at the most: each costs a socket. */
const pairsMax = 16;

/** No pairs where there is nothing to probe: no KERNEL interface, or no addresses of one family at both ends. */
export function probedWire({ mechanism, context }: Connection): ProbedWire {
  const { srcIpAddrs = [], dstIpAddrs = [] } = context?.ipContext ?? {};
  if (mechanism?.type !== mechanismType.kernel) return { interfaceName: '', pairs: [] };
  const pairs = srcIpAddrs.flatMap((source) =>
    dstIpAddrs
      .filter((destination) => isOneFamily(source, destination))
      .map((destination) => ({ source: hostOf(source), destination: hostOf(destination) })),
  );
  return {
    interfaceName: parameter(mechanism, parameterKey.name) ?? '',
    pairs: pairs.slice(0, pairsMax),
  };
}

function isOneFamily(left: string, right: string): boolean {
  const family = parsePrefix(left)?.family;
  return family !== undefined && family === parsePrefix(right)?.family;
}

function hostOf(cidr: string): string {
  return cidr.split('/')[0] ?? '';
}
