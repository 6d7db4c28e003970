// For verifiers without an identity of their own: the X.509 bundles alone, as the Workload API pushes them.

import type { Clock } from '../../protocols/ports/clock.ts';
import type { Budget } from '../../protocols/ports/dataplane.ts';
import type { Log } from '../../protocols/ports/log.ts';
import type { Random } from '../../protocols/ports/random.ts';
import { NsmError } from '../../protocols/errors.ts';
import { Latest } from './latest.ts';
import { readX509Bundles } from './read-responses.ts';
import type { X509Bundles } from './verify-x509-svid.ts';
import { startWatch } from './watch.ts';
import { createWorkloadApiClient } from './workload-api-client.ts';

export interface X509BundlesWatch {
  current(): X509Bundles | undefined;
  ready(budget: Budget): Promise<X509Bundles>;
  watch(listener: (bundles: X509Bundles | undefined) => void): () => void;
  close(): void;
}

export interface X509BundlesWatchOptions {
  readonly endpoint: string;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
}

/** Starts at once. Errors: INVALID_ARGUMENT (the endpoint). */
export function watchX509Bundles(options: X509BundlesWatchOptions): X509BundlesWatch {
  const { clock, random, log } = options;
  const client = createWorkloadApiClient(options.endpoint);
  const latest = new Latest<X509Bundles>('X.509 bundles', clock);
  const watch = startWatch({
    what: 'X.509 bundles',
    open: client.openX509Bundles,
    accept: ({ bundles }) => {
      if (Object.keys(bundles).length === 0) {
        throw new NsmError('INVALID_ARGUMENT', 'an answer of the Workload API is not valid', {
          rule: 'workload-api-bundles',
          expected: 'at least one X.509 bundle',
          found: 'none',
        });
      }
      latest.set(readX509Bundles(bundles));
    },
    onTrouble: (error, isFinal) => latest.failed(error, isFinal),
    clock,
    random,
    log,
  });
  return {
    current: () => latest.value,
    ready: (budget) => latest.first(budget),
    watch: (listener) => latest.watch(listener),
    close: () => {
      watch.stop();
      client.close();
      latest.close();
    },
  };
}
