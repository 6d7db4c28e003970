// How the node-side links of wires are joined, read from the kernel: where each redirects to, and where each tunnel
// sends to.

import { dumpVxlanRemotes, parseVxlanRemote } from '../../protocols/netlink/address.ts';
import { errno } from '../../protocols/netlink/errno.ts';
import {
  dumpIngressFilters,
  parseRedirectTarget,
} from '../../protocols/netlink/traffic-control.ts';
import type { Budget, VxlanEnd } from '../../protocols/ports/dataplane.ts';
import type { Netlink, NetlinkRequest } from '../../protocols/ports/netlink.ts';
import { run } from './run.ts';

/** A node-side link; `tunnel` where it is a VXLAN device. */
export interface JointLink {
  readonly index: number;
  readonly tunnel?: VxlanEnd;
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
    const tunnels = batch.filter(({ tunnel }) => tunnel !== undefined);
    const requests: NetlinkRequest[] = [
      ...batch.map(({ index }) => ({
        message: dumpIngressFilters(index),
        what: `read the filters of link ${index}`,
        tolerate: gone,
      })),
      ...tunnels.map(({ index }) => ({
        message: dumpVxlanRemotes(index),
        what: `read the remotes of link ${index}`,
        tolerate: gone,
      })),
    ];
    const answers = (await run(netlink, [{ protocol: 'route', requests }], budget))[0] ?? [];
    for (const [position, { index }] of batch.entries()) {
      const targets = (answers[position]?.messages ?? []).map(parseRedirectTarget);
      const target = targets.find((each) => each !== undefined);
      states.set(index, target === undefined ? {} : { target });
    }
    for (const [position, { index, tunnel }] of tunnels.entries()) {
      const remotes = (answers[batch.length + position]?.messages ?? []).map(parseVxlanRemote);
      const sends = remotes.some(
        (remote) =>
          remote?.ip === tunnel?.remoteIp &&
          (remote?.port ?? tunnel?.localPort) === tunnel?.remotePort,
      );
      states.set(index, { ...states.get(index), sends });
    }
  }
  return states;
}
