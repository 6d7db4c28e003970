// What is missing of a wire, or not as it was made, in words: pure. One judgement for what `list` finds by tags and
// for what `inspect` finds of a remembered wire.

import type { Link } from '../../protocols/netlink/link.ts';
import type { JointState } from './joints.ts';
import type { Side } from './wire-state.ts';
import { sides } from './wire-state.ts';

/** One end as it was found. */
export interface SeenEnd {
  readonly name: string;
  /** Absent where it is gone. */
  readonly link?: Link;
  readonly hasTag: boolean;
  readonly hasName: boolean;
  /** False where an earlier operation was interrupted. */
  readonly isDone: boolean;
  readonly joint: JointState;
  /** False where the filter of outer sources lacks something for this tunnel. */
  readonly isFiltered: boolean;
}

export interface SeenWire {
  readonly client?: SeenEnd;
  readonly endpoint?: SeenEnd;
  /** What joins the ends: absent for redirect filters, `gone` where it was a bridge. */
  readonly bridge?: Link | 'gone';
  /** Something else than the kernel joins the ends: what is not there may not belong there, and joints are not ours. */
  readonly isJoinedOutside?: boolean;
  /** Ends that an interrupted retarget has left. */
  readonly leftOver: readonly string[];
}

const names: Readonly<Record<Side, string>> = { client: 'client', endpoint: 'Endpoint' };

export function missingOf(wire: SeenWire): string[] {
  const missing = sides.flatMap((side) => {
    const towards = ` towards the ${names[side]}`;
    const end = wire[side];
    if (end === undefined) return wire.isJoinedOutside ? [] : [`the link${towards} is gone`];
    return problemsOf(end, wire, side).map((problem) => `${end.name}${towards} ${problem}`);
  });
  const { bridge, leftOver } = wire;
  if (bridge === 'gone') missing.push('the bridge is gone');
  else if (bridge?.isUp === false) missing.push(`the bridge ${bridge.name} is down`);
  return [...missing, ...leftOver.map((name) => `${name} is left over`)];
}

function problemsOf(end: SeenEnd, wire: SeenWire, side: Side): string[] {
  const { link, joint } = end;
  if (link === undefined) return ['is gone'];
  const problems: string[] = [];
  if (!end.hasTag) problems.push('has lost its tag');
  if (!end.hasName) problems.push(`is called ${link.name}`);
  if (!end.isDone) problems.push('was not finished');
  if (!link.isUp) problems.push('is down');
  problems.push(...unjoined(end, wire, side));
  if (joint.sends === false) problems.push('has lost its remote');
  if (!end.isFiltered) problems.push('is not in the filter of outer sources');
  return problems;
}

/** What is wrong with how the end, which is there, is joined to the other. */
function unjoined({ link, joint }: SeenEnd, wire: SeenWire, side: Side): string[] {
  const { bridge } = wire;
  if (bridge === 'gone' || wire.isJoinedOutside) return [];
  if (bridge !== undefined) return link?.master === bridge.index ? [] : ['is not on the bridge'];
  if (joint.target === undefined) return ['redirects nowhere'];
  const other = wire[side === 'client' ? 'endpoint' : 'client']?.link;
  // Where the other end is gone, that is what there is to say.
  if (other === undefined || joint.target === other.index) return [];
  return [`redirects to link ${joint.target}`];
}
