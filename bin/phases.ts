// Start-up and shutdown of a role: numbered phases, announced up front, each timed and with a hint for the reader of
// a log that stops there; shutdown in reverse within a deadline. Invariants: what a phase started is stopped exactly
// once, also when a later phase fails; a second signal ends the process at once.

import { constants } from 'node:os';
import { performance } from 'node:perf_hooks';
import { NsmError } from '../protocols/errors.ts';
import type { Log } from '../protocols/ports/log.ts';
import { exitCodes } from './commands/catalog.ts';

/** Undoes what a phase did. */
export type StopPhase = () => Promise<void>;

export interface PhaseContext {
  /** Aborted when the role is told to stop or the phase is over its deadline. */
  readonly signal: AbortSignal;
  /** Ends the role from within, now or later; without an error it is a clean end. */
  readonly end: (error?: unknown) => void;
}

export interface Phase {
  /** What it does, as `open the journal`. */
  readonly name: string;
  /** What to check if the log stops here. */
  readonly check: string;
  /** Default 30,000. */
  readonly timeoutMs?: number;
  /** Returns what undoes it, if anything needs to be. */
  start(context: PhaseContext): Promise<StopPhase | undefined>;
}

export interface RoleOptions {
  readonly name: string;
  readonly phases: readonly Phase[];
  readonly log: Log;
  /** For the whole shutdown; default 15,000. */
  readonly shutdownTimeoutMs?: number;
}

const stopSignals = ['SIGTERM', 'SIGINT', 'SIGHUP', 'SIGQUIT'] as const;

/** Ctrl-C reaches the whole process group and launchers pass it on as well: copies within this time are one signal. */
const sameSignalWithinMs = 300;

const elapsedMs = (sinceMs: number): number => Math.round(performance.now() - sinceMs);

/** Resolves or rejects as `work` does, or rejects with DEADLINE_EXCEEDED and then aborts the signal given to it. */
async function within<T>(
  timeoutMs: number,
  what: string,
  work: (signal: AbortSignal) => Promise<T>,
): Promise<T> {
  const controller = new AbortController();
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => {
      const error = new NsmError('DEADLINE_EXCEEDED', `${what} took more than ${timeoutMs} ms`);
      reject(error);
      controller.abort(error);
    }, timeoutMs);
  });
  return Promise.race([work(controller.signal), late]).finally(() => clearTimeout(timer));
}

/** The wish to stop: from a signal, from within the role, or from a crash. */
function watchForEnd(log: Log) {
  const controller = new AbortController();
  let failed = false;
  let firstSignalMs: number | undefined;
  const end = (error?: unknown): void => {
    if (error !== undefined) {
      failed = true;
      log.error('role failed', { error });
    }
    controller.abort(new NsmError('CANCELLED', 'the role was told to stop'));
  };
  const onSignal = (signal: (typeof stopSignals)[number]): void => {
    if (firstSignalMs === undefined) {
      firstSignalMs = performance.now();
      log.info('stop signal received', { signal });
      end();
    } else if (elapsedMs(firstSignalMs) > sameSignalWithinMs) {
      log.warn('second stop signal received: leaving at once', { signal });
      process.exit(128 + constants.signals[signal]);
    }
  };
  for (const signal of stopSignals) process.on(signal, onSignal);
  process.on('uncaughtException', end).on('unhandledRejection', end);
  const release = (): void => {
    for (const signal of stopSignals) process.off(signal, onSignal);
    process.off('uncaughtException', end).off('unhandledRejection', end);
  };
  return { signal: controller.signal, end, hasFailed: () => failed, release };
}

type End = ReturnType<typeof watchForEnd>;

interface Started {
  readonly name: string;
  readonly stop: StopPhase;
}

async function startPhases({ phases, log }: RoleOptions, end: End, started: Started[]) {
  for (const [index, phase] of phases.entries()) {
    if (end.signal.aborted) return;
    const label = `${index + 1}/${phases.length} ${phase.name}`;
    const sinceMs = performance.now();
    log.info('phase started', { phase: label, check: phase.check });
    const timeoutMs = phase.timeoutMs ?? 30_000;
    try {
      await within(timeoutMs, `"${phase.name}"`, async (late) => {
        const signal = AbortSignal.any([end.signal, late]);
        const stop = await phase.start({ signal, end: end.end });
        // Also when the deadline has passed meanwhile: what it started is then stopped as well.
        if (stop !== undefined) started.push({ name: phase.name, stop });
      });
    } catch (error) {
      if (end.signal.aborted) return;
      log.error('phase failed', { phase: label, check: phase.check, error });
      throw error;
    }
    log.info('phase finished', { phase: label, durationMs: elapsedMs(sinceMs) });
  }
}

/** Newest first. A part that fails to stop is reported and does not keep the others from stopping. */
async function stopPhases(log: Log, started: Started[], timeoutMs: number): Promise<boolean> {
  const sinceMs = performance.now();
  let isClean = true;
  for (let part = started.pop(); part !== undefined; part = started.pop()) {
    const { name, stop } = part;
    const remainingMs = Math.max(1, timeoutMs - elapsedMs(sinceMs));
    try {
      await within(remainingMs, `stopping "${name}"`, stop);
      log.info('phase stopped', { phase: name });
    } catch (error) {
      isClean = false;
      log.error('phase did not stop', { phase: name, error });
    }
  }
  return isClean;
}

/**
 * Runs the phases, waits until the role is told to stop, and stops in reverse. Returns the exit code: 0 after a clean
 * drain, 1 where a phase failed to start or stop. Never throws.
 */
export async function runRole(options: RoleOptions): Promise<number> {
  const { name, phases, log, shutdownTimeoutMs = 15_000 } = options;
  const end = watchForEnd(log);
  const started: Started[] = [];
  const sinceMs = performance.now();
  log.info('role starting', { role: name, phases: phases.map((phase) => phase.name) });
  const isUp = await startPhases(options, end, started).then(
    () => true,
    () => false,
  );
  if (isUp && !end.signal.aborted) {
    log.info('role ready', { role: name, durationMs: elapsedMs(sinceMs) });
    await new Promise<void>((resolve) => {
      if (end.signal.aborted) resolve();
      else end.signal.addEventListener('abort', () => resolve(), { once: true });
    });
  }
  const isClean = await stopPhases(log, started, shutdownTimeoutMs);
  end.release();
  log.info('role stopped', { role: name });
  return isUp && isClean && !end.hasFailed() ? exitCodes.ok : exitCodes.failed;
}
