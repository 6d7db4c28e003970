// What `list` says: one line for each wire that has an end in the kernel, or a row in the database.

import type { FlowStatistics } from '../../protocols/ovs/flow.ts';
import type { Budget, ObservedWire } from '../../protocols/ports/dataplane.ts';
import type { ObservedEnds, WireEnds } from '../../protocols/ports/wire-ends.ts';
import { tagVersionOf, wireCookie } from './tags.ts';
import { versionsOf } from './wire-join.ts';
import { farEndIn, missingInSwitch } from './wire-judgement.ts';
import type { Joinery } from './wire-parts.ts';

export async function listWires(
  joinery: Joinery,
  ends: WireEnds,
  budget: Budget,
): Promise<ObservedWire[]> {
  await joinery.rows.ready(budget);
  const ofKernel = new Map((await ends.list(budget)).map((each) => [each.id, each]));
  const flows = new Map<bigint, FlowStatistics[]>();
  // Without a bridge there is nobody to ask.
  const found = joinery.rows.bridge === undefined ? [] : await joinery.switch.flows(budget);
  for (const flow of found) flows.set(flow.cookie, [...(flows.get(flow.cookie) ?? []), flow]);
  const ids = new Set([...ofKernel.keys(), ...joinery.rows.wireIds()]);
  return [...ids].map((id) => {
    const cookie = wireCookie(joinery.owner, id);
    return observed(joinery, id, ofKernel.get(id), flows.get(cookie) ?? []);
  });
}

function observed(
  { owner, rows }: Joinery,
  id: string,
  ends: ObservedEnds | undefined,
  flows: readonly FlowStatistics[],
): ObservedWire {
  const links = ends?.links ?? {};
  const own = rows.of(id);
  const versions = [...versionsOf(own), ...(ends === undefined ? [] : [ends.version])];
  const objects = [
    ...new Set([
      ...(ends?.objects ?? []),
      ...own.ports.map(({ name }) => name),
      ...own.tunnels.map(({ row }) => row.name),
    ]),
  ];
  const latest = Math.max(...versions);
  if (ends?.readable === false || latest > tagVersionOf(owner)) {
    const missing = ['a later version of vwire made it'];
    return { id, version: latest, complete: false, missing, readable: false, objects };
  }
  const farEnd = farEndIn(rows);
  const inSwitch = missingInSwitch({ owner, wireId: id, rows: own, flows, links, farEnd });
  const missing = [...(ends?.missing ?? []), ...inSwitch];
  const version = Math.min(...versions);
  return { id, version, complete: missing.length === 0, missing, readable: true, objects };
}
