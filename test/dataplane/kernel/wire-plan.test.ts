// Protects the first packets over a wire's end: what is sent as soon as an interface has an address arrives and is
// answered, since a neighbour that is asked for too early is asked for again only after a second.

import { describe, expect, test } from 'vitest';

import { redirectCrossConnect } from '../../../dataplane/kernel/cross-connect.ts';
import { marksOf } from '../../../dataplane/kernel/owner.ts';
import { linkEndOf } from '../../../protocols/netlink/check-wire.ts';
import { planWire } from '../../../dataplane/kernel/wire-plan.ts';
import {
  absentWire,
  type CurrentWire,
  type EndState,
  nothingConfigured,
  type Side,
} from '../../../dataplane/kernel/wire-state.ts';
import { localWire } from '../../sandbox/wires.ts';

const places = { client: 'file:///client', endpoint: 'file:///endpoint' };
const wire = localWire(places, 1);
const context = {
  marks: marksOf({ installation: 'plan', forwarder: 'node' }),
  crossConnect: redirectCrossConnect,
  filtersSources: false,
  mtu: 0,
  policies: undefined,
  renamesUp: true,
};

const present = (side: Side, index: number): EndState => ({
  side,
  generation: 0,
  name: `there-${side}`,
  index,
  peerIndex: index + 1,
  tag: { version: 1, wireId: wire.id, role: side, isDone: true },
  mtu: 0,
  isSettled: true,
  end: linkEndOf(wire, side),
  configuration: nothingConfigured,
});

function deeds(current: CurrentWire): readonly string[] {
  const { program } = planWire(context, wire, current);
  return program.steps.flatMap(({ requests }) => requests.map(({ what }) => what));
}

const first = (all: readonly string[], what: RegExp): number =>
  all.findIndex((each) => what.test(each));
const last = (all: readonly string[], what: RegExp): number =>
  all.findLastIndex((each) => what.test(each));

describe('the plan of a wire', () => {
  test.each([
    ['is new', absentWire],
    ['has lost its client end', { ...absentWire, endpoint: present('endpoint', 7) }],
    ['has lost its Endpoint end', { ...absentWire, client: present('client', 7) }],
  ])('that %s gives a new end no address before frames pass both ways', (_, current) => {
    const all = deeds(current);
    const addressed = all.filter((what) => what.startsWith('add address'));
    expect(addressed).not.toEqual([]);
    const made = current.client === undefined ? /add address .* nsm-1$/ : /add address .* nse-1$/;
    expect(first(all, made)).toBeGreaterThan(last(all, /^redirect |^wait for |^set .* up$/));
    expect(all.at(-1)).toMatch(/^mark /);
  });

  test('gives the client an address only when its Endpoint can answer', () => {
    const all = deeds(absentWire);
    expect(first(all, /^add .* nsm-1$/)).toBeGreaterThan(last(all, /^add .* nse-1$/));
  });

  test('that moves to another Endpoint completes the end there before the switch', () => {
    const all = deeds({
      ...absentWire,
      client: present('client', 7),
      replaced: [present('endpoint', 9)],
    });
    const switched = last(all, /^redirect /);
    expect(last(all, /^add .* nse-1$/)).toBeLessThan(switched);
    expect(first(all, /^add address .* nse-1$/)).toBeGreaterThan(0);
  });
});
