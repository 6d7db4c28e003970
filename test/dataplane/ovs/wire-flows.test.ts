// Protects how a wire goes over from one pair of flows to another: packets on their way through an end that is replaced
// keep their flow, and no packet can ever fit two flows.

import { describe, expect, test } from 'vitest';

import {
  type FlowEnd,
  flowChanges,
  switchOverFlows,
  wireFlows,
} from '../../../dataplane/ovs/wire-flows.ts';
import type { FlowMod, FlowStatistics } from '../../../protocols/ovs/flow.ts';
import { addFlow, type FlowSpec } from '../../../protocols/ovs/flow-builders.ts';

const cookie = 7n;
const port = (number: number): FlowEnd => ({ kind: 'port', number });
const tagged = (number: number, vlanId: number): FlowEnd => ({ kind: 'port', number, vlanId });
const tunnel = (vni: number): FlowEnd => ({ kind: 'tunnel', receive: 9, send: 9, vni });

const flowsOf = (client: FlowEnd, endpoint: FlowEnd): FlowSpec[] =>
  Object.values(wireFlows(cookie, { client, endpoint }));

const there = (specs: readonly FlowSpec[]): FlowStatistics[] =>
  specs.map((spec) => {
    const { table, priority, flags, match, instructions } = addFlow(spec);
    const counted = { durationMs: 0, packets: 0n, bytes: 0n };
    const timeouts = { idleTimeoutSeconds: 0, hardTimeoutSeconds: 0 };
    return { cookie, table, priority, flags, match, instructions, ...timeouts, ...counted };
  });

const commandsOf = (mods: readonly FlowMod[]) => mods.map(({ command }) => command);

describe('the flows of a wire', () => {
  test.each([
    { name: 'a port', old: port(2), next: port(3) },
    { name: 'a tunnel', old: tunnel(5), next: port(3) },
    { name: 'another VNI of the same tunnel', old: tunnel(5), next: tunnel(6) },
  ])('what leads from $name that is replaced goes later', ({ old, next }) => {
    const found = there(flowsOf(port(1), old));
    const wanted = flowsOf(port(1), next);
    const { changes, leaving } = switchOverFlows(found, wanted);
    expect(commandsOf(changes)).toEqual(['add', 'add']);
    expect(leaving).toMatchObject([{ command: 'deleteStrict', match: found[1]?.match }]);
    expect(commandsOf(flowChanges(found, wanted))).toEqual(['deleteStrict', 'add', 'add']);
  });

  test('a flow that could take the packets of a wanted one goes at once', () => {
    const found = there(flowsOf(port(1), port(2)));
    const { changes, leaving } = switchOverFlows(found, flowsOf(tagged(1, 12), port(2)));
    expect(commandsOf(changes)).toEqual(['deleteStrict', 'add', 'add']);
    expect(leaving).toEqual([]);
  });

  test('flows that are right are left alone', () => {
    const specs = flowsOf(port(1), tunnel(5));
    expect(switchOverFlows(there(specs), specs)).toEqual({ changes: [], leaving: [] });
  });
});
