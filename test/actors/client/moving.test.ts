// Protects a client that is asked to go to another Endpoint: it asks for one without leaving its wire, stays content
// where none is to be had and asks again with pauses, and forgets the wish once it is fulfilled or withdrawn.

import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { State } from '../../../protocols/nsm/gen/connection_pb.ts';
import { kernelMechanism } from '../../../protocols/nsm/kernel-mechanism.ts';
import { type ClientFixture, createClientFixture, ownNamespace } from './client-fixture.ts';
import { away } from './fake-manager.ts';

let fixture: ClientFixture;
let clock: ClientFixture['clock'];
let manager: ClientFixture['manager'];

beforeEach(async () => {
  fixture = await createClientFixture();
  ({ clock, manager } = fixture);
});

afterEach(() => fixture.end());

const wish = () => manager.say({ state: State.RESELECT_REQUESTED });
const reselects = () => fixture.states().filter((state) => state === State.RESELECT_REQUESTED);
/** The Endpoint that the manager picks in a reselect. */
const pick = (name: string) => {
  manager.picks = name;
};

describe('a client that is asked to move', () => {
  it('asks for another Endpoint with the same ids, and has not been healing', async () => {
    await fixture.established();
    pick('other');
    await wish();
    await clock.advance(100);
    expect(manager.asked.at(-1)?.connection).toMatchObject({
      state: State.RESELECT_REQUESTED,
      networkServiceEndpointName: '',
      path: { pathSegments: [{ id: 'nsc-0' }, { id: 'manager-id' }] },
    });
    expect(fixture.phases()).toEqual(['established', 'established']);
    await clock.advance(60_000);
    expect(reselects()).toHaveLength(1);
    expect(manager.closed).toEqual([]);
    await fixture.close();
  });

  it('keeps its wire where there is no other, and asks again with pauses as long as the wish stands', async () => {
    await fixture.established();
    manager.refusalOf = ({ state }) => (state === State.RESELECT_REQUESTED ? away() : undefined);
    await wish();
    await wish();
    await clock.advance(60_000);
    expect(fixture.phases()).not.toContain('healing');
    // Once after the first refusal, so that the hop that asked knows that it was heard, and for each further wish.
    const refreshes = () => fixture.states().filter((state) => state === State.UP).length - 1;
    expect(refreshes()).toBe(1);
    await wish();
    await clock.advance(5_000);
    expect(refreshes()).toBe(2);
    expect(reselects().length).toBeGreaterThan(10);
    expect(reselects().length).toBeLessThan(40);
    await clock.advance(70_000);
    expect(fixture.states()).toContain(State.UP);
    manager.refusalOf = () => undefined;
    pick('other');
    await clock.advance(6_000);
    const count = reselects().length;
    await clock.advance(60_000);
    expect(reselects().length).toBe(count);
    await fixture.close();
  });

  it('has not moved where the same Endpoint answers, and asks again', async () => {
    await fixture.established();
    await wish();
    await clock.advance(1_000);
    expect(reselects().length).toBeGreaterThan(1);
    pick('other');
    await clock.advance(10_000);
    const count = reselects().length;
    await clock.advance(60_000);
    expect(reselects().length).toBe(count);
    await fixture.close();
  });

  it('has moved where the Endpoint answers that it is bound to', async () => {
    await fixture.established('nse-pinned');
    await wish();
    await clock.advance(10_000);
    expect(reselects()).toHaveLength(1);
    await fixture.close();
  });

  it('stays where the wish is withdrawn', async () => {
    await fixture.established();
    manager.refusalOf = ({ state }) => (state === State.RESELECT_REQUESTED ? away() : undefined);
    await wish();
    await clock.advance(1_000);
    await manager.say({ state: State.UP });
    const count = reselects().length;
    await clock.advance(60_000);
    expect(reselects().length).toBe(count);
    await fixture.close();
  });

  it('is closed at once while a move hangs', async () => {
    await fixture.established();
    manager.gate.close();
    await wish();
    await clock.advance(100);
    expect(manager.gate.waiting).toBe(1);
    await fixture.close();
    expect(manager.closed).toMatchObject([{ id: 'nsc-0' }]);
    manager.gate.open();
    await clock.advance(1);
  });

  it('started anew, goes on with its wire first and moves then', async () => {
    await fixture.established();
    const mechanism = kernelMechanism({ netnsUrl: ownNamespace, interfaceName: 'nsm-1' });
    const view = manager.view({ state: State.RESELECT_REQUESTED, mechanism });
    await fixture.close();
    fixture.forget();
    manager.held = [view];
    pick('other');
    fixture.start();
    await clock.advance(200);
    expect(fixture.states()).toEqual([State.UP, State.RESELECT_REQUESTED]);
    expect(manager.asked[0]?.connection.networkServiceEndpointName).toBe('nse');
    expect(manager.closed).toEqual([]);
    await fixture.close();
  });
});
