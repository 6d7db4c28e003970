// Keeps this machine's own nats-server running: started again on the same port when it ends by itself, so that every
// process finds it again. Invariant: after `stop` no server is left and none is started.

import { describeError } from '../../protocols/errors.ts';
import type { Log } from '../../protocols/ports/log.ts';
import {
  type NatsServer,
  type NatsServerOptions,
  startNatsServer,
} from '../../transports/nats/nats-server.ts';

export interface SupervisedBus {
  readonly url: string;
  readonly pid: number;
  /** One that is about to start reads its configuration anyway. */
  reload(): Promise<void>;
  stop(graceMs: number): Promise<void>;
}

const restartAfterMs = 200;
const restartAfterMsMax = 5_000;

/** Resolves once the server is ready; the failure of the first start is the caller's. */
export async function superviseBus(options: NatsServerOptions, log: Log): Promise<SupervisedBus> {
  let server = await startNatsServer(options);
  const { port, url } = server;
  let stopping = false;
  let failures = 0;
  let timer: NodeJS.Timeout | undefined;
  let starting: Promise<void> = Promise.resolve();

  const restart = async (): Promise<void> => {
    try {
      const started = await startNatsServer({ ...options, port });
      server = started;
      failures = 0;
      log.info('the bus is back', { pid: started.pid });
      if (stopping) await started.stop();
      else follow(started);
    } catch (error) {
      log.error('the bus could not be started again', { error: describeError(error) });
      startLater();
    }
  };
  const startLater = (): void => {
    if (stopping) return;
    const delayMs = Math.min(restartAfterMsMax, restartAfterMs * 2 ** failures);
    failures += 1;
    timer = setTimeout(() => {
      starting = restart();
    }, delayMs);
  };
  const follow = (each: NatsServer): void => {
    void each.ended.then(() => {
      if (stopping) return;
      log.error('the bus ended and is started again', { pid: each.pid });
      startLater();
    });
  };
  follow(server);
  return {
    url,
    get pid() {
      return server.pid;
    },
    reload: () => server.reload(),
    async stop(graceMs) {
      stopping = true;
      clearTimeout(timer);
      await starting;
      await server.stop(graceMs);
    },
  };
}
