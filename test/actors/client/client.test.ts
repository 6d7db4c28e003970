// Protects what keeps a client's connection up: first Requests with back-off, refresh on time and never in a storm,
// repair in place before a reselect, and a Close that neither a retry nor a try that hangs can starve.

import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { NsmError } from '../../../protocols/errors.ts';
import { ConnectionEventType, State } from '../../../protocols/nsm/gen/connection_pb.ts';
import { settle } from '../../sandbox/manual-clock.ts';
import { type ClientFixture, createClientFixture } from './client-fixture.ts';
import { away, lifetimeMs } from './fake-manager.ts';

let fixture: ClientFixture;
let clock: ClientFixture['clock'];
let manager: ClientFixture['manager'];
let system: ClientFixture['system'];
let statuses: ClientFixture['statuses'];

beforeEach(async () => {
  fixture = await createClientFixture();
  ({ clock, manager, system, statuses } = fixture);
});

afterEach(() => fixture.end());

const start: ClientFixture['start'] = (how) => fixture.start(how);
const established = (endpointName?: string) => fixture.established(endpointName);
const close = () => fixture.close();
const phases = () => fixture.phases();
const states = () => fixture.states();
const gaps = () => fixture.gaps();

describe('a first Request', () => {
  it('says who asks for what, and is followed at the manager', async () => {
    await established();
    expect(manager.asked[0]?.connection).toMatchObject({
      networkService: 'service',
      labels: { app: 'test' },
      path: { index: 1, pathSegments: [{ name: 'nsc', id: 'nsc-0' }, { name: 'nsmgr' }] },
    });
    const [own] = manager.asked[0]?.connection.path?.pathSegments ?? [];
    expect(own?.expires).toBeDefined();
    expect(manager.subscribers.length).toBe(2);
    await close();
  });

  it('is repeated with a pause that doubles up to the longest, shortened at random by at most half', async () => {
    manager.refusal = away();
    start();
    await clock.advance(60_000);
    const full = [100, 200, 400, 800, 1_600, 3_200, 5_000, 5_000];
    for (const [at, gapMs] of gaps().slice(0, full.length).entries()) {
      expect(gapMs, `pause ${at}`).toBeLessThanOrEqual(full[at] ?? 0);
      expect(gapMs, `pause ${at}`).toBeGreaterThan((full[at] ?? 0) * 0.49);
    }
    expect(new Set(gaps().slice(7).map(Math.round)).size).toBeGreaterThan(3);
    expect(statuses.at(-1)).toMatchObject({
      phase: 'requesting',
      lastError: { code: 'UNAVAILABLE' },
    });
    manager.refusal = undefined;
    await clock.advance(5_000);
    expect(phases().at(-1)).toBe('established');
    expect(states()).not.toContain(State.RESELECT_REQUESTED);
    await close();
  });

  it('is closed at once while it waits for its next try, and tells nobody', async () => {
    manager.refusal = away();
    start();
    await clock.advance(1_000);
    await close();
    expect(phases().at(-1)).toBe('closed');
    expect(manager.closed).toEqual([]);
    const count = manager.asked.length;
    await clock.advance(60_000);
    expect(manager.asked.length).toBe(count);
    expect(system.actorCount).toBe(0);
  });
});

describe('a client without an answer that is closed', () => {
  /** The manager has made what was asked for, and its answer is lost. */
  async function answerLost(): Promise<void> {
    manager.gate.close();
    start();
    await clock.advance(15_001);
    expect(statuses.at(-1)).toMatchObject({ lastError: { code: 'DEADLINE_EXCEEDED' } });
    manager.held = [manager.view()];
  }

  it('closes what its manager has made', async () => {
    await answerLost();
    await close();
    expect(manager.closed).toMatchObject([{ id: 'nsc-0', networkServiceEndpointName: 'nse' }]);
    manager.gate.open();
    await settle();
  });

  it('waits for a manager that may hold something and starts again', async () => {
    await answerLost();
    await manager.stop();
    const closing = fixture.closing();
    await clock.advance(3_000);
    await manager.start();
    await clock.advance(5_000);
    await closing;
    expect(manager.closed).toMatchObject([{ networkServiceEndpointName: 'nse' }]);
    manager.gate.open();
    await settle();
  });

  it('closes what the Request made that was under way', async () => {
    manager.gate.close();
    start();
    await clock.advance(1);
    manager.held = [manager.view()];
    await close();
    expect(manager.closed).toMatchObject([{ networkServiceEndpointName: 'nse' }]);
    manager.gate.open();
    await settle();
  });

  it('waits for no manager that was never there', async () => {
    await manager.stop();
    start();
    await clock.advance(1_000);
    await close();
    expect(phases()).toContain('requesting');
    expect(phases().at(-1)).toBe('closed');
    await manager.start();
  });
});

describe('an established client', () => {
  it('refreshes after a fifth of the shortest life, up to a tenth early', async () => {
    await established();
    await clock.advance(107_000);
    expect(manager.asked.length).toBe(1);
    await clock.advance(14_000);
    expect(manager.asked.length).toBe(2);
    expect(manager.asked[1]?.connection).toMatchObject({
      networkServiceEndpointName: 'nse',
      mechanism: { type: 'KERNEL' },
      path: { pathSegments: [{ id: 'nsc-0' }, { id: 'manager-id' }] },
    });
    const expiries = manager.asked.map(
      ({ connection }) => connection.path?.pathSegments[0]?.expires?.seconds,
    );
    expect(Number(expiries[1]) - Number(expiries[0])).toBeGreaterThan(100);
    expect(phases()).toEqual(['established', 'established']);
    await close();
  });

  it('refreshes at once when asked to', async () => {
    await established();
    await manager.say({ state: State.REFRESH_REQUESTED });
    expect(manager.asked.length).toBe(2);
    expect(phases()).toEqual(['established', 'established']);
    await close();
  });

  it('heeds nothing about somebody else’s connection', async () => {
    await established();
    const path = manager.view().path;
    if (path === undefined) throw new Error('no path');
    const pathSegments = path.pathSegments.map((each) => ({ ...each, id: `other-${each.id}` }));
    await manager.say({ state: State.DOWN, path: { ...path, pathSegments } });
    expect(phases()).toEqual(['established']);
    await close();
  });

  it('heeds nothing about the connection of another client of the same name', async () => {
    await established();
    const path = manager.view().path;
    const [own, ...rest] = path?.pathSegments ?? [];
    if (path === undefined || own === undefined) throw new Error('no path');
    const pathSegments = [own, ...rest.map((each) => ({ ...each, id: `other-${each.id}` }))];
    const entry = { id: 'other-manager-id', path: { ...path, pathSegments } };
    await manager.say({ ...entry, state: State.DOWN });
    await manager.say(entry, ConnectionEventType.DELETE);
    expect(phases()).toEqual(['established']);
    await close();
  });

  it.each([-5_000, -600_000, 10])('spares a hop whose answers live for %i ms', async (lifeMs) => {
    manager.answersLiveMs = lifeMs;
    await established();
    await clock.advance(60_000);
    const [first] = gaps();
    // A second, up to a tenth early as any refresh.
    expect(first).toBeGreaterThanOrEqual(900);
    expect(manager.asked.length).toBeGreaterThan(2);
    // One with a late clock is asked less and less often; one whose answers do live shortly is not given up.
    expect(manager.asked.length).toBeLessThan(lifeMs < 0 ? 9 : 70);
    manager.answersLiveMs = lifetimeMs;
    await clock.advance(60_000);
    const count = manager.asked.length;
    await clock.advance(100_000);
    expect(manager.asked.length).toBeLessThanOrEqual(count + 1);
    await close();
  });

  it('closes the connection as it was answered last', async () => {
    await established();
    await close();
    expect(manager.closed).toMatchObject([
      { id: 'nsc-0', path: { index: 0, pathSegments: [{ id: 'nsc-0' }, { id: 'manager-id' }] } },
    ]);
    expect(phases().at(-1)).toBe('closed');
    await clock.advance(700_000);
    expect(manager.asked.length).toBe(1);
  });

  it('is closed once its manager is back, where that was away', async () => {
    await established();
    await manager.stop();
    const closing = fixture.closing();
    await clock.advance(8_000);
    expect(manager.closed).toEqual([]);
    await manager.start();
    await clock.advance(4_000);
    await closing;
    expect(manager.closed).toMatchObject([{ id: 'nsc-0' }]);
    expect(phases().at(-1)).toBe('closed');
  });

  it('is closed here also where the manager stays away, and says so', async () => {
    await established();
    await manager.stop();
    const refused = expect(fixture.closing()).rejects.toMatchObject({ code: 'UNAVAILABLE' });
    await clock.advance(15_000);
    await refused;
    expect(phases().at(-1)).toBe('closed');
    expect(system.actorCount).toBe(0);
    await manager.start();
  });

  it('is closed here also where the manager refuses, and says so', async () => {
    await established();
    manager.refusal = new NsmError('PERMISSION_DENIED', 'not yours');
    await expect(close()).rejects.toMatchObject({ code: 'PERMISSION_DENIED' });
    expect(phases().at(-1)).toBe('closed');
    expect(system.actorCount).toBe(0);
  });
});

describe.each([
  { what: 'DOWN', happens: () => manager.say({ state: State.DOWN }) },
  { what: 'a deletion', happens: () => manager.say({}, ConnectionEventType.DELETE) },
  {
    what: 'a refresh that fails',
    happens: async () => {
      manager.refusals = 1;
      await manager.say({ state: State.REFRESH_REQUESTED });
    },
  },
])('healing after $what', ({ happens }) => {
  it('repairs in place first', async () => {
    await established();
    const before = manager.asked.length;
    await happens();
    await clock.advance(6_000);
    expect(phases().at(-1)).toBe('established');
    expect(phases()).toContain('healing');
    for (const { connection } of manager.asked.slice(before)) {
      expect(connection.state).not.toBe(State.RESELECT_REQUESTED);
      expect(connection.networkServiceEndpointName).toBe('nse');
    }
    await close();
  });
});

describe('healing', () => {
  it('reselects once the repair in place has failed: no Endpoint, no mechanism, the same ids', async () => {
    await established();
    manager.refusalOf = ({ state }) => (state === State.UP ? away() : undefined);
    await manager.say({ state: State.DOWN });
    expect(states().slice(1)).toEqual([State.UP, State.RESELECT_REQUESTED]);
    const last = manager.asked.at(-1)?.connection;
    expect(last?.state).toBe(State.RESELECT_REQUESTED);
    expect(last?.networkServiceEndpointName).toBe('');
    expect(last?.mechanism).toBeUndefined();
    expect(last?.path?.pathSegments.map(({ id }) => id)).toEqual(['nsc-0', 'manager-id']);
    expect(phases().at(-1)).toBe('established');
    await close();
  });

  it('keeps the Endpoint that the client is bound to', async () => {
    await established('nse-pinned');
    manager.refusal = away();
    await manager.say({ state: State.DOWN });
    manager.refusal = undefined;
    await clock.advance(200);
    expect(manager.asked.at(-1)?.connection).toMatchObject({
      state: State.RESELECT_REQUESTED,
      networkServiceEndpointName: 'nse-pinned',
    });
    await close();
  });

  it('does not reselect because the manager is away: that says nothing about the Endpoint', async () => {
    await established();
    await manager.stop();
    await clock.advance(20_000);
    expect(phases().at(-1)).toBe('healing');
    await manager.start();
    await clock.advance(6_000);
    expect(phases().at(-1)).toBe('established');
    expect(states()).not.toContain(State.RESELECT_REQUESTED);
    await close();
  });

  it('is patient with a manager that lacks the forwarder, then lets it choose another', async () => {
    await established();
    manager.refusal = new NsmError('NOT_FOUND', 'no forwarder', {
      hop: 'nsmgr',
      rule: 'select-forwarder',
    });
    const before = manager.asked.length;
    await manager.say({ state: State.DOWN });
    await clock.advance(30_000);
    const healing = states().slice(before);
    expect(healing.slice(0, 6)).not.toContain(State.RESELECT_REQUESTED);
    expect(new Set(healing.slice(6))).toEqual(new Set([State.RESELECT_REQUESTED]));
    manager.refusal = undefined;
    await clock.advance(5_000);
    await close();
  });

  it('is ended by a Close in the middle of it', async () => {
    await established();
    manager.refusal = away();
    await manager.say({ state: State.DOWN });
    await clock.advance(500);
    manager.gate.close();
    await clock.advance(2_000);
    expect(manager.gate.waiting).toBe(1);
    manager.refusal = undefined;
    const closing = close();
    closing.catch(() => {});
    manager.gate.open();
    await closing;
    await settle();
    expect(phases().at(-1)).toBe('closed');
    expect(manager.closed.length).toBe(1);
    const count = manager.asked.length;
    await clock.advance(60_000);
    expect(manager.asked.length).toBe(count);
  });

  it('is ended by a Close at once while a try hangs', async () => {
    await established();
    manager.gate.close();
    await manager.say({ state: State.DOWN });
    expect(manager.gate.waiting).toBe(1);
    await close();
    expect(manager.closed).toMatchObject([{ id: 'nsc-0' }]);
    expect(system.actorCount).toBe(0);
    manager.gate.open();
    await settle();
  });

  it('is ended by a Close between two tries, however often they fail', async () => {
    await established();
    manager.refusal = away();
    await manager.say({ state: State.DOWN });
    await clock.advance(30_000);
    manager.refusal = undefined;
    await close();
    expect(manager.closed.length).toBe(1);
    expect(system.actorCount).toBe(0);
  });
});
