// Protects what a client makes of its probes: a wire that dies is left at once, whatever is under way or waited for; one
// that lives is never left; what answers again by itself needs nobody; and what heals without lasting is not healed
// again and again without a pause.

import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { farEndOf, withoutFarEnd } from '../../../protocols/nsm/far-end.ts';
import { State } from '../../../protocols/nsm/gen/connection_pb.ts';
import {
  aliveVerdict,
  type Liveness,
  unknownVerdict,
  type Verdict,
} from '../../../protocols/ports/liveness.ts';
import { type ClientFixture, createClientFixture } from './client-fixture.ts';
import { away } from './fake-manager.ts';

const dead: Verdict = { kind: 'dead', what: 'wire', found: 'no reply' };

/** Says what the test says. */
class ScriptedLiveness implements Liveness {
  watches = 0;
  stopped = 0;
  confirmed = 0;
  /** A confirmation is not over before the watch is. */
  hangs = false;
  verdict: Verdict = unknownVerdict;
  #tell: (verdict: Verdict) => void = () => {};

  watch(_: unknown, onVerdict: (verdict: Verdict) => void) {
    this.watches += 1;
    this.verdict = unknownVerdict;
    this.#tell = onVerdict;
    let end = (): void => {};
    const stopping = new Promise<void>((resolve) => (end = resolve));
    const verdict = (): Verdict => this.verdict;
    return {
      get verdict() {
        return verdict();
      },
      confirm: async () => {
        this.confirmed += 1;
        if (this.hangs) await stopping;
        return this.verdict;
      },
      stop: () => {
        end();
        this.stopped += 1;
        this.#tell = () => {};
      },
    };
  }

  say(verdict: Verdict): void {
    this.verdict = verdict;
    this.#tell(verdict);
  }
}

let fixture: ClientFixture;
let clock: ClientFixture['clock'];
let manager: ClientFixture['manager'];
let liveness: ScriptedLiveness;

beforeEach(async () => {
  fixture = await createClientFixture();
  ({ clock, manager } = fixture);
  liveness = new ScriptedLiveness();
  fixture.start({ liveness });
  await clock.advance(10_000);
  liveness.say(aliveVerdict);
  await clock.advance(1);
  expect(fixture.phases()).toEqual(['established']);
});

afterEach(async () => {
  await fixture.close();
  expect(liveness.stopped, 'watches that go on').toBe(liveness.watches);
  await fixture.end();
});

const say = async (verdict: Verdict): Promise<void> => {
  liveness.say(verdict);
  await clock.advance(0);
};
const lastAsked = () => manager.asked.at(-1)?.connection;
const reselects = () => fixture.states().filter((state) => state === State.RESELECT_REQUESTED);
const repairFails = () => {
  manager.refusalOf = ({ state }) => (state === State.UP ? away() : undefined);
};

describe('a wire that dies', () => {
  it('is left at once, and the one after it is watched anew', async () => {
    await say(dead);
    expect(fixture.states()).toEqual([State.UP, State.RESELECT_REQUESTED]);
    expect(fixture.statuses[1]).toMatchObject({
      phase: 'healing',
      cause: 'wire',
      attempts: 0,
      lastError: { details: { found: 'no reply' } },
    });
    expect(fixture.phases()).toEqual(['established', 'healing', 'established']);
    expect(liveness.watches).toBe(2);
  });

  it.each(['a repair', 'a refresh'])('while %s hangs makes it give up', async (what) => {
    manager.gate.close();
    await manager.say({ state: what === 'a repair' ? State.DOWN : State.REFRESH_REQUESTED });
    expect(manager.gate.waiting).toBe(1);
    expect(lastAsked()?.state).toBe(State.UP);
    await say(dead);
    expect(lastAsked()?.state).toBe(State.RESELECT_REQUESTED);
    manager.gate.open();
    await clock.advance(1);
    expect(fixture.phases().at(-1)).toBe('established');
  });

  it('in the pause between two repairs ends the pause', async () => {
    repairFails();
    await manager.say({ state: State.DOWN });
    await clock.advance(30_000);
    expect(reselects()).toEqual([]);
    const count = manager.asked.length;
    await say(dead);
    expect(manager.asked.length).toBe(count + 1);
    expect(fixture.phases().at(-1)).toBe('established');
  });

  it('does not end the pauses between reselects that fail', async () => {
    manager.refusal = away();
    await say(dead);
    await clock.advance(30_000);
    const count = manager.asked.length;
    for (let time = 0; time < 5; time += 1) {
      await say(unknownVerdict);
      await say(dead);
    }
    expect(manager.asked.length).toBe(count);
    manager.refusal = undefined;
    await clock.advance(6_000);
  });

  it('again and again after each healing is left with longer and longer pauses', async () => {
    await say(dead);
    const pauses: number[] = [];
    for (let time = 0; time < 8; time += 1) {
      const sinceMs = clock.nowMs();
      const count = manager.asked.length;
      await say(dead);
      while (manager.asked.length === count) await clock.advance(10);
      pauses.push(clock.nowMs() - sinceMs);
    }
    expect(pauses[0]).toBeGreaterThan(40);
    expect(pauses.at(-1)).toBeGreaterThan(2_000);
    await say(aliveVerdict);
    await clock.advance(10_000);
    await say(dead);
    expect(lastAsked()?.state).toBe(State.RESELECT_REQUESTED);
  });
});

describe('a wire whose far end a hop has seen go', () => {
  const sayGone = () => {
    const view = manager.view();
    return manager.say(withoutFarEnd(view, farEndOf(view)) ?? view);
  };

  it('is left at once, whatever the probes say', async () => {
    await sayGone();
    expect(reselects()).toHaveLength(1);
    expect(fixture.statuses[1]).toMatchObject({ phase: 'healing', cause: 'wire' });
    expect(fixture.phases()).toEqual(['established', 'healing', 'established']);
  });

  it('is left at once while a DOWN before it is looked into', async () => {
    liveness.hangs = true;
    await manager.say({ state: State.DOWN });
    expect(manager.asked).toHaveLength(1);
    await sayGone();
    expect(fixture.states()).toEqual([State.UP, State.RESELECT_REQUESTED]);
    expect(fixture.phases().at(-1)).toBe('established');
  });

  it('while a repair hangs makes it give up', async () => {
    manager.gate.close();
    await manager.say({ state: State.DOWN });
    await sayGone();
    expect(lastAsked()?.state).toBe(State.RESELECT_REQUESTED);
    manager.gate.open();
    await clock.advance(1);
    expect(fixture.phases().at(-1)).toBe('established');
  });

  it('counts no more once the client is elsewhere', async () => {
    await sayGone();
    await manager.say({ state: State.DOWN });
    await clock.advance(1_000);
    expect(reselects()).toHaveLength(1);
    expect(lastAsked()?.state).toBe(State.UP);
  });

  it('is asked about in vain with growing pauses while no other Endpoint is to be had', async () => {
    manager.refusal = away();
    await sayGone();
    await clock.advance(30_000);
    expect(reselects().length).toBeGreaterThan(5);
    expect(reselects().length).toBeLessThan(20);
    expect(fixture.states().slice(1)).toEqual(reselects());
    manager.refusal = undefined;
    await clock.advance(6_000);
    expect(fixture.phases().at(-1)).toBe('established');
  });
});

describe('a wire that lives', () => {
  it('is repaired for ever and never left, however the repairs fail', async () => {
    manager.refusal = away();
    await manager.say({ state: State.DOWN });
    await clock.advance(300_000);
    expect(reselects()).toEqual([]);
    expect(liveness.confirmed).toBe(manager.asked.length - 1);
    expect(fixture.statuses.at(-1)).toMatchObject({
      phase: 'healing',
      cause: 'control plane',
      lastError: { code: 'UNAVAILABLE' },
    });
    manager.refusal = undefined;
    await clock.advance(6_000);
    expect(fixture.phases().at(-1)).toBe('established');
    expect(liveness.watches).toBe(1);
  });

  it('again, while no other Endpoint is to be had, needs nobody', async () => {
    manager.refusal = away();
    await say(dead);
    await clock.advance(20_000);
    const count = manager.asked.length;
    await say(aliveVerdict);
    expect(fixture.phases().at(-1)).toBe('established');
    expect(manager.asked.length).toBe(count);
    manager.refusal = undefined;
    await clock.advance(130_000);
    expect(lastAsked()?.state).toBe(State.UP);
    expect(manager.asked.length).toBe(count + 1);
  });
});

describe('an UP', () => {
  it('ends a long pause between repairs, once', async () => {
    manager.refusal = away();
    await manager.say({ state: State.DOWN });
    await clock.advance(30_000);
    manager.refusal = undefined;
    const count = manager.asked.length;
    await manager.say({ state: State.UP });
    await clock.advance(100);
    expect(manager.asked.length).toBe(count + 1);
    expect(fixture.phases().at(-1)).toBe('established');
  });
});

describe('a DOWN', () => {
  it('that was said of the Endpoint that was left is not heeded', async () => {
    const old = manager.view();
    manager.picks = 'other';
    manager.gate.close();
    await say(dead);
    // It comes while the reselect is under way, about the path as it was.
    const segments = [...(old.path?.pathSegments ?? []), { name: 'nse', id: 'old-end' }];
    const path = { ...old.path, pathSegments: segments } as NonNullable<typeof old.path>;
    await manager.say({ ...old, state: State.DOWN, path });
    manager.gate.open();
    await clock.advance(1_000);
    expect(fixture.phases()).toEqual(['established', 'healing', 'established']);
  });
});
