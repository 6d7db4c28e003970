// What is missing of a wire in VPP, or not as it was made: pure, from what was seen of it.

import type { NodeLink, NodeLinks } from '../../protocols/ports/wire-ends.ts';
import { allOnes } from '../../protocols/vpp/messages/enums.ts';
import type { FoundEnd } from './inventory.ts';
import type { FoundIpsec } from './ipsec.ts';
import { type Side, sides } from './tags.ts';

export interface SeenInVpp {
  /** Everything that is, or may be, of the wire. */
  readonly ends: readonly FoundEnd[];
  /** As Inventory.jointOf. */
  readonly jointOf: (index: number) => number | undefined;
  readonly links: NodeLinks;
  /** Indexes of links whose frames do not come to VPP. */
  readonly unattached: ReadonlySet<number>;
  /** Pipes that do not lead into their VLAN. */
  readonly cutOff: ReadonlySet<number>;
}

const names: Record<Side, string> = { client: 'client', endpoint: 'Endpoint' };

/** One line each, for people; empty where all is as it was made. */
export function missingInVpp(seen: SeenInVpp): string[] {
  const { ends, jointOf, links } = seen;
  const chosen = chooseEnds(seen);
  const missing = sides.flatMap((side) => [
    ...problemsOfEnd(chosen[side], links[side], side),
    ...problemsOfPipe(chosen[side], seen.cutOff, side),
    ...(links[side] === undefined ? [] : problemsOfBranch(chosen[side], seen.unattached, side)),
  ]);
  const used = Object.values(chosen).flatMap((end) => end?.index ?? []);
  const leftOver = ends.filter(({ index }) => !used.includes(index));
  missing.push(...leftOver.map(({ name }) => `${name} is left over`));
  const { client, endpoint } = chosen;
  if (client === undefined || endpoint === undefined) return missing;
  for (const [side, from, to] of [
    ['client', client, endpoint],
    ['endpoint', endpoint, client],
  ] as const) {
    const joint = jointOf(from.index);
    if (joint === to.index) continue;
    const what = joint === undefined ? 'is gone' : 'leads elsewhere';
    missing.push(`the cross connect from the ${names[side]} ${what}`);
  }
  return missing;
}

/** While one end takes over from another there are two; the one that is joined counts. */
function chooseEnds({ ends, jointOf }: SeenInVpp): Partial<Record<Side, FoundEnd>> {
  const of = (side: Side): FoundEnd[] => ends.filter(({ tag }) => tag?.side === side);
  const [clients, endpoints] = [of('client'), of('endpoint')];
  const pairs = clients.flatMap((client) => endpoints.map((endpoint) => ({ client, endpoint })));
  const leads = (from: FoundEnd, to: FoundEnd): boolean => jointOf(from.index) === to.index;
  const joined =
    pairs.find(({ client, endpoint }) => leads(client, endpoint) && leads(endpoint, client)) ??
    pairs.find(({ client, endpoint }) => leads(client, endpoint));
  if (joined !== undefined) return joined;
  const [client] = clients;
  const [endpoint] = endpoints;
  return {
    ...(client === undefined ? {} : { client }),
    ...(endpoint === undefined ? {} : { endpoint }),
  };
}

function problemsOfEnd(
  end: FoundEnd | undefined,
  link: NodeLink | undefined,
  side: Side,
): readonly string[] {
  const towards = `towards the ${names[side]}`;
  if (end === undefined) {
    return [`the ${link === undefined ? 'end' : 'interface'} ${towards} is gone`];
  }
  const { name, isUp, hostLink, branch, wireguard, ipsec, tag } = end;
  const problems: string[] = [];
  if (hostLink !== undefined || branch !== undefined) {
    if (link === undefined) problems.push(`the link of ${name} ${towards} is gone`);
    else if (link.index !== tag?.link) problems.push(`${name} ${towards} has lost its link`);
  }
  if (wireguard?.peers.length === 0) problems.push(`the peer of ${name} ${towards} is gone`);
  if (ipsec !== undefined) return [...problems, ...problemsOfAgreement(end, ipsec, towards)];
  if (!isUp) problems.push(`${name} ${towards} is down`);
  return problems;
}

/** Whoever does not begin it can do nothing about an agreement that is not there. */
function problemsOfAgreement(
  { name, isUp }: FoundEnd,
  { profiles }: FoundIpsec,
  towards: string,
): readonly string[] {
  const [profile] = profiles;
  if (profile === undefined) return [`the IKEv2 profile of ${name} ${towards} is gone`];
  const begins = profile.responder.sw_if_index !== allOnes;
  return isUp || !begins ? [] : [`${name} ${towards} has not agreed with the other node`];
}

function problemsOfPipe(
  end: FoundEnd | undefined,
  cutOff: ReadonlySet<number>,
  side: Side,
): readonly string[] {
  if (end === undefined || !cutOff.has(end.index)) return [];
  return [`${end.name} towards the ${names[side]} does not lead into its VLAN`];
}

function problemsOfBranch(
  end: FoundEnd | undefined,
  unattached: ReadonlySet<number>,
  side: Side,
): readonly string[] {
  if (end?.branch === undefined) return [];
  const { name, branch } = end;
  const towards = `towards the ${names[side]}`;
  const problems: string[] = [];
  if (!branch.isRewritten) problems.push(`${name} ${towards} leaves the tags on frames`);
  if (unattached.has(branch.link))
    problems.push(`the link of ${name} ${towards} does not lead to it`);
  return problems;
}
