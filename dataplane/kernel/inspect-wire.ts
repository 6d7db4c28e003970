// A remembered wire compared with the kernel, link by link, in one program: what is missing of it or is not as it was
// made, and what of it is there.

import { errno } from '../../protocols/netlink/errno.ts';
import { getLink, type Link, parseLink } from '../../protocols/netlink/link.ts';
import type { NetlinkAnswer, NetlinkRequest, NetlinkStep } from '../../protocols/ports/netlink.ts';
import type { FilterUse } from './filter-use.ts';
import type { NodeLinks } from '../../protocols/ports/wire-ends.ts';
import { type JointLink, jointIn, jointRequests } from './joints.ts';
import { missingOf, type SeenEnd } from './missing.ts';
import type { LookContext } from './observe.ts';
import type { OwnerMarks } from './owner.ts';
import { formatTag, isNameOf, parseOthersTag } from './owner.ts';
import { run } from './run.ts';
import type { CurrentWire, EndState, Side } from './wire-state.ts';
import { sides } from './wire-state.ts';
import { sendsToPeer, tunnelIn, tunnelReading } from './wireguard-tunnel.ts';

export interface Inspecting extends LookContext {
  readonly isJoinedOutside: boolean;
  /** Absent where this kernel cannot filter. */
  readonly filter?: FilterUse;
}

export interface Inspected {
  readonly missing: readonly string[];
  /** Ends whose link is gone. */
  readonly gone: readonly Side[];
  /** What is there of a wire that was known: enough to plan from. */
  readonly actual?: CurrentWire;
  readonly links: NodeLinks;
}

export async function inspectWire(context: Inspecting, wire: CurrentWire): Promise<Inspected> {
  const { isJoinedOutside } = context;
  const ends = sides.flatMap((side) => wire[side] ?? []);
  const requests = ends.map((state) => [
    linkRequest(state.index),
    ...(isJoinedOutside ? [] : jointRequests(jointOf(state))),
  ]);
  const bridgeRequest = wire.bridge === undefined ? [] : [linkRequest(wire.bridge.index)];
  const steps: NetlinkStep[] = [
    { protocol: 'route', requests: [...requests.flat(), ...bridgeRequest] },
    ...ends.flatMap((state) => tunnelStep(context, state) ?? []),
  ];
  const [answers = [], ...tunnels] = await run(context.netlink, steps, context.budget);
  const seen: { client?: SeenEnd; endpoint?: SeenEnd; bridge?: Link | 'gone' } = {};
  let position = 0;
  let looked = 0;
  for (const [index, state] of ends.entries()) {
    const count = requests[index]?.length ?? 0;
    const found = answers.slice(position, position + count);
    const tunnel = tunnelStep(context, state) === undefined ? undefined : tunnels[looked++];
    seen[state.side] = seenEnd(context, state, { found, tunnel });
    position += count;
  }
  if (wire.bridge !== undefined) seen.bridge = linkIn(answers[position]) ?? 'gone';
  const missing = missingOf({ ...seen, isJoinedOutside, leftOver: [] });
  const gone = sides.filter((side) => seen[side]?.link === undefined);
  return {
    missing,
    gone,
    actual: whatIsThere(context.marks, wire, seen),
    links: linksOfEnds(seen),
  };
}

function linksOfEnds(seen: { readonly client?: SeenEnd; readonly endpoint?: SeenEnd }): NodeLinks {
  return Object.fromEntries(
    sides.flatMap((side) => {
      const link = seen[side]?.link;
      if (link === undefined) return [];
      const { name, index, mtu } = link;
      return [[side, { name, index, mtu }]];
    }),
  );
}

const linkRequest = (index: number): NetlinkRequest => ({
  message: getLink(index),
  what: `read link ${index}`,
  tolerate: [errno.noDevice],
});

const jointOf = ({ index, end }: EndState): JointLink =>
  end?.kind === 'vxlan' ? { index, tunnel: end } : { index };

function linkIn(answer: NetlinkAnswer | undefined): Link | undefined {
  const message = answer?.messages[0];
  return message === undefined ? undefined : parseLink(message);
}

/** What tells how a tunnel is, beside its link; undefined where nothing does. */
function tunnelStep(
  { filter, wireguardFamily }: Inspecting,
  { index, end }: EndState,
): NetlinkStep | undefined {
  if (end?.kind === 'vxlan') return filter?.reading(end);
  if (end?.kind !== 'wireguard' || wireguardFamily === undefined) return undefined;
  return tunnelReading(wireguardFamily, index);
}

interface EndAnswers {
  readonly found: readonly NetlinkAnswer[];
  /** To `tunnelStep`. */
  readonly tunnel: readonly NetlinkAnswer[] | undefined;
}

function seenEnd(
  { marks, filter }: Inspecting,
  state: EndState,
  { found, tunnel }: EndAnswers,
): SeenEnd {
  const { end } = state;
  const [answer, ...joints] = found;
  const link = linkIn(answer);
  // What another forwarder has taken over is gone from here.
  const isOurs = link !== undefined && parseOthersTag(marks.owner, link.alias) === undefined;
  const there = isOurs ? link : undefined;
  return {
    name: state.name,
    ...(there === undefined ? {} : { link: there }),
    hasTag: there?.alias === formatTag(marks.owner, state.tag),
    hasName: there !== undefined && isNameOf(marks, state.side, there.name),
    isDone: state.tag.isDone,
    joint: {
      ...jointIn(jointOf(state), joints),
      ...(tunnel && end?.kind === 'wireguard' ? { sends: sendsToPeer(tunnelIn(tunnel), end) } : {}),
    },
    isFiltered:
      there === undefined || end?.kind !== 'vxlan' || !tunnel || filter?.isCovered(tunnel) === true,
  };
}

/** The wire without the links that are gone, and with the names that links have now. */
function whatIsThere(
  marks: OwnerMarks,
  wire: CurrentWire,
  seen: { readonly client?: SeenEnd; readonly endpoint?: SeenEnd; readonly bridge?: Link | 'gone' },
): CurrentWire {
  const { client, endpoint, bridge, ...rest } = wire;
  const kept = (state: EndState | undefined, end: SeenEnd | undefined) => {
    if (state === undefined || end?.link === undefined) return undefined;
    const { name, isUp, group } = end.link;
    const isSettled = isUp && group === marks.group;
    const tag = end.hasTag ? {} : { lostTag: true };
    const found = state.end?.kind === 'wireguard' && end.joint.sends === false;
    // Whatever it has for peers makes way.
    const peer = found ? { end: { ...state.end, peerPublicKey: '' } } : {};
    return { ...state, name, isSettled, ...tag, ...peer };
  };
  const lost = [client, endpoint].filter(
    (state) => state?.end?.kind === 'vxlan' && seen[state.side]?.link === undefined,
  );
  const keptClient = kept(client, seen.client);
  const keptEndpoint = kept(endpoint, seen.endpoint);
  return {
    ...rest,
    lost: [...(wire.lost ?? []), ...lost.flatMap((state) => state ?? [])],
    ...(keptClient === undefined ? {} : { client: keptClient }),
    ...(keptEndpoint === undefined ? {} : { endpoint: keptEndpoint }),
    ...(bridge === undefined || seen.bridge === 'gone' ? {} : { bridge }),
  };
}
