// Keeps one child process running: started again with back-off when it ends by itself. Invariant: after `stop` no
// child is left and none is started.

import { describeError } from '../../protocols/errors.ts';
import type { Log } from '../../protocols/ports/log.ts';
import type { Child, Exit } from '../../transports/process/child.ts';

export interface SupervisedChild {
  /** Of the child that runs now. */
  readonly pid: number;
  readonly restarts: number;
  stop(graceMs: number): Promise<void>;
}

export interface SupervisionSetup {
  readonly name: string;
  readonly start: () => Child;
  readonly readyTimeoutMs: number;
  readonly log: Log;
  /** Each child that has been started, the first one included. */
  readonly onStarted: (pid: number, restarts: number) => void;
}

/** Pause before a restart, doubled with each early end up to the longest. */
const backoffMs = 100;
const backoffMsMax = 5_000;

/** A child that lived this long has recovered: the pause begins anew. */
const healthyAfterMs = 30_000;

/** Resolves once the first child is ready; its failure is the caller's. */
export async function superviseChild(setup: SupervisionSetup): Promise<SupervisedChild> {
  let child = setup.start();
  setup.onStarted(child.pid, 0);
  let restarts = 0;
  let failures = 0;
  let stopping = false;
  let timer: NodeJS.Timeout | undefined;

  const follow = (started: Child): void => {
    const sinceMs = performance.now();
    void started.exited.then((exit) => onExit(exit, performance.now() - sinceMs));
  };
  const onExit = (exit: Exit, livedMs: number): void => {
    if (stopping) return;
    if (livedMs > healthyAfterMs) failures = 0;
    startLater('a child process ended and is started again', { ...exit });
  };
  const startLater = (what: string, why: Readonly<Record<string, unknown>>): void => {
    failures += 1;
    const delayMs = Math.min(backoffMsMax, backoffMs * 2 ** (failures - 1));
    setup.log.error(what, { child: setup.name, ...why, delayMs });
    timer = setTimeout(restart, delayMs);
  };
  const restart = (): void => {
    restarts += 1;
    try {
      child = setup.start();
    } catch (error) {
      // For want of processes, descriptors or space: all of them may come back.
      startLater('a child process could not be started', { error: describeError(error) });
      return;
    }
    setup.onStarted(child.pid, restarts);
    follow(child);
    child.ready(setup.readyTimeoutMs).then(
      () => setup.log.info('a child process is back', { child: setup.name, pid: child.pid }),
      (error: unknown) => {
        setup.log.error('a child process does not get ready', { error: describeError(error) });
        child.kill('SIGKILL');
      },
    );
  };

  try {
    await child.ready(setup.readyTimeoutMs);
  } catch (error) {
    await child.stop(0);
    throw error;
  }
  follow(child);
  return {
    get pid() {
      return child.pid;
    },
    get restarts() {
      return restarts;
    },
    async stop(graceMs) {
      stopping = true;
      clearTimeout(timer);
      await child.stop(graceMs);
    },
  };
}
