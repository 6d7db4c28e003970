// Protects wires that are changed at the same time from each other: what they ask of the switch goes to it together, and
// still each gets its own answer, its own refusal, and no longer a wait than it allows.

import { describe, expect, test } from 'vitest';

import { GatheredCalls } from '../../../dataplane/ovs/gathered-calls.ts';
import { NsmError } from '../../../protocols/errors.ts';
import type { Budget } from '../../../protocols/ports/dataplane.ts';
import { createManualClock, settle } from '../../sandbox/manual-clock.ts';

const budget = { timeoutMs: 1_000 };

/** Calls that end when the test says so. */
function stage(
  options: { readonly partsMax?: number; readonly digested?: () => Promise<void> } = {},
) {
  const clock = createManualClock();
  const sent: { parts: readonly string[]; budget: Budget; end: (outcome: unknown) => void }[] = [];
  const calls = new GatheredCalls<string, unknown>({
    clock,
    what: 'a change',
    partsMax: 10,
    ...options,
    send: (parts, given) =>
      new Promise((resolve, reject) => {
        const end = (outcome: unknown) =>
          outcome instanceof Error ? reject(outcome) : resolve(outcome);
        sent.push({ parts, budget: given, end });
      }),
  });
  const partsSent = () => sent.map(({ parts }) => parts.join(' '));
  const end = async (outcome: unknown) => {
    sent.at(-1)?.end(outcome);
    await settle();
  };
  return { clock, calls, sent, partsSent, end };
}

describe('calls to the switch', () => {
  test('what is asked in one moment goes together, and so does what comes meanwhile, in order', async () => {
    const { calls, partsSent, end } = stage();
    const answers = [['a'], ['b']].map((parts) => calls.ask(parts, budget));
    await settle();
    expect(partsSent()).toEqual(['a b']);
    answers.push(...[['c', 'd'], ['e']].map((parts) => calls.ask(parts, budget)));
    await settle();
    expect(partsSent()).toEqual(['a b']);
    await end('first');
    expect(partsSent()).toEqual(['a b', 'c d e']);
    await end('second');
    expect(await Promise.all(answers)).toEqual(['first', 'first', 'second', 'second']);
  });

  test('no call has more parts than one may have, unless one caller has', async () => {
    const { calls, partsSent, end } = stage({ partsMax: 2 });
    const answers = [['a'], ['b'], ['c'], ['d', 'e', 'f']].map((parts) => calls.ask(parts, budget));
    await settle();
    for (let count = 0; count < 3; count += 1) await end('done');
    await Promise.all(answers);
    expect(partsSent()).toEqual(['a b', 'c', 'd e f']);
  });

  test('what is refused together is tried one by one', async () => {
    const { calls, partsSent, end } = stage();
    const first = calls.ask(['a'], budget);
    await settle();
    const bad = calls.ask(['bad'], budget);
    const good = calls.ask(['good'], budget);
    const refused = expect(bad).rejects.toMatchObject({ code: 'ALREADY_EXISTS' });
    await end('first');
    await end(new NsmError('ALREADY_EXISTS', 'as planned'));
    await end(new NsmError('ALREADY_EXISTS', 'as planned'));
    await end('alone');
    await refused;
    expect(await Promise.all([first, good])).toEqual(['first', 'alone']);
    expect(partsSent()).toEqual(['a', 'bad good', 'bad', 'good']);
  });

  test('what may have happened is not tried again', async () => {
    const { calls, partsSent, end } = stage();
    const first = calls.ask(['a'], budget);
    await settle();
    const both = [calls.ask(['b'], budget), calls.ask(['c'], budget)];
    const lost = both.map((each) => expect(each).rejects.toMatchObject({ code: 'UNAVAILABLE' }));
    await end('first');
    await end(new NsmError('UNAVAILABLE', 'the switch was lost'));
    await Promise.all([first, ...lost]);
    expect(partsSent()).toEqual(['a', 'b c']);
  });

  test('whoever waits too long is told, and is not sent', async () => {
    const { clock, calls, partsSent, sent, end } = stage();
    const first = calls.ask(['a'], budget);
    await settle();
    const impatient = calls.ask(['b'], { timeoutMs: 100 });
    const patient = calls.ask(['c'], budget);
    const told = expect(impatient).rejects.toMatchObject({
      code: 'DEADLINE_EXCEEDED',
      details: { found: 'not sent' },
    });
    await clock.advance(300);
    await told;
    await end('first');
    expect(partsSent()).toEqual(['a', 'c']);
    // What it has waited is taken off its time.
    expect(sent[1]?.budget.timeoutMs).toBe(700);
    await end('second');
    expect(await Promise.all([first, patient])).toEqual(['first', 'second']);
    expect(clock.pendingTimers).toBe(0);
  });

  test('whoever shares a call waits no longer than it allows, and one alone leaves that to the call', async () => {
    const { clock, calls, sent, end } = stage();
    const alone = calls.ask(['a'], budget);
    await settle();
    expect(clock.pendingTimers).toBe(0);
    expect(sent[0]?.budget.timeoutMs).toBe(1_000);
    await end('first');
    await alone;
    const impatient = calls.ask(['b'], { timeoutMs: 100 });
    const patient = calls.ask(['c'], budget);
    const told = expect(impatient).rejects.toMatchObject({
      code: 'DEADLINE_EXCEEDED',
      details: { found: 'sent, so that it may have happened' },
    });
    await settle();
    expect(sent[1]?.budget.timeoutMs).toBe(1_000);
    await clock.advance(100);
    await told;
    await end('second');
    expect(await patient).toBe('second');
    expect(clock.pendingTimers).toBe(0);
  });

  test('whoever gives up while waiting is not sent', async () => {
    const { calls, partsSent, end } = stage();
    const first = calls.ask(['a'], budget);
    await settle();
    const caller = new AbortController();
    const cancelled = calls.ask(['b'], { ...budget, signal: caller.signal });
    const told = expect(cancelled).rejects.toMatchObject({ code: 'CANCELLED' });
    caller.abort();
    await end('first');
    await Promise.all([first, told]);
    expect(partsSent()).toEqual(['a']);
  });

  test('an answer is given at once, and the next call waits until it is digested', async () => {
    let digest: () => void = () => {};
    const digested = () => new Promise<void>((resolve) => (digest = resolve));
    const { calls, partsSent, end } = stage({ digested });
    const first = calls.ask(['a'], budget);
    await settle();
    const second = calls.ask(['b'], budget);
    await end('first');
    expect(await first).toBe('first');
    expect(partsSent()).toEqual(['a']);
    digest();
    await settle();
    expect(partsSent()).toEqual(['a', 'b']);
    await end('second');
    expect(await second).toBe('second');
  });
});
