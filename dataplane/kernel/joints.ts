// How the node-side links of wires are joined, read from the kernel: where each redirects to, and where each tunnel
// sends to.

import { dumpVxlanRemotes, parseVxlanRemote } from '../../protocols/netlink/address.ts';
import { errno } from '../../protocols/netlink/errno.ts';
import {
  dumpIngressFilters,
  parseRedirectTarget,
} from '../../protocols/netlink/traffic-control.ts';
import type { Budget, VxlanEnd } from '../../protocols/ports/dataplane.ts';
import type {
  Netlink,
  NetlinkAnswer,
  NetlinkRequest,
  NetlinkStep,
} from '../../protocols/ports/netlink.ts';
import { run } from './run.ts';
import { sendsToPeer, tunnelIn, tunnelReading } from './wireguard-tunnel.ts';

/** A node-side link; `tunnel` where it is a VXLAN device, `wireguard` where it is one of those, read by that family. */
export interface JointLink {
  readonly index: number;
  readonly tunnel?: VxlanEnd;
  readonly wireguard?: { readonly family: number | undefined };
}

/** How one link is joined. */
export interface JointState {
  /** Index of the link that it redirects to. */
  readonly target?: number;
  /** For a tunnel: whether it sends to its remote. */
  readonly sends?: boolean;
}

/** Links per program, so that others get their turn in between. */
const batchMax = 256;
const gone = [errno.noDevice, errno.invalid, errno.noEntry];

export async function readJoints(
  netlink: Netlink,
  links: readonly JointLink[],
  budget: Budget,
): Promise<ReadonlyMap<number, JointState>> {
  const states = new Map<number, JointState>();
  for (let start = 0; start < links.length; start += batchMax) {
    const batch = links.slice(start, start + batchMax);
    const requests = batch.flatMap(jointRequests);
    const devices = batch.filter(({ wireguard }) => wireguard?.family !== undefined);
    const program: NetlinkStep[] = [
      { protocol: 'route', requests },
      ...devices.map(({ index, wireguard }) => tunnelReading(wireguard?.family ?? 0, index)),
    ];
    const [answers = [], ...tunnels] = await run(netlink, program, budget);
    let position = 0;
    for (const link of batch) {
      const count = jointRequests(link).length;
      states.set(link.index, jointIn(link, answers.slice(position, position + count)));
      position += count;
    }
    for (const [at, { index }] of devices.entries()) {
      states.set(index, { ...states.get(index), sends: sendsToPeer(tunnelIn(tunnels[at])) });
    }
  }
  return states;
}

/** What to ask about one link; a link that is gone has no answer. */
export function jointRequests({ index, tunnel }: JointLink): NetlinkRequest[] {
  const filters = {
    message: dumpIngressFilters(index),
    what: `read the filters of link ${index}`,
    tolerate: gone,
  };
  if (tunnel === undefined) return [filters];
  const message = dumpVxlanRemotes(index);
  return [filters, { message, what: `read the remotes of link ${index}`, tolerate: gone }];
}

/** What the answers to `jointRequests` say. */
export function jointIn(
  { tunnel }: JointLink,
  [filters, remotes]: readonly NetlinkAnswer[],
): JointState {
  const targets = (filters?.messages ?? []).map(parseRedirectTarget);
  const target = targets.find((each) => each !== undefined);
  const joint = target === undefined ? {} : { target };
  if (tunnel === undefined) return joint;
  const sends = (remotes?.messages ?? [])
    .map(parseVxlanRemote)
    .some(
      (remote) =>
        remote?.ip === tunnel.remoteIp && (remote.port ?? tunnel.localPort) === tunnel.remotePort,
    );
  return { ...joint, sends };
}
