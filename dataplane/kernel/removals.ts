// Links to be removed, gathered for a few milliseconds and deleted as one group: they share one grace period of
// the kernel (16 ms for one link or for a hundred).
// Invariant: a removal resolves when its links are gone, and rejects for all that were gathered with it.

import { errno } from '../../protocols/netlink/errno.ts';
import { changeLink, deleteLinkGroup } from '../../protocols/netlink/link.ts';
import type { Clock } from '../../protocols/ports/clock.ts';
import type { Budget } from '../../protocols/ports/dataplane.ts';
import type { Netlink, NetlinkRequest } from '../../protocols/ports/netlink.ts';
import type { OwnerMarks } from './owner.ts';
import { run } from './run.ts';

const gatherMs = 3;
/** Links per program, so that others get their turn in between. */
const batchMax = 256;

export interface Removals {
  remove(indexes: readonly number[], budget: Budget): Promise<void>;
}

export function createRemovals(options: {
  readonly netlink: Netlink;
  readonly marks: OwnerMarks;
  readonly clock: Clock;
}): Removals {
  const { netlink, marks, clock } = options;
  let gathered: Gathered | undefined;

  const flush = async (batch: Gathered): Promise<void> => {
    const indexes = [...batch.indexes];
    for (let start = 0; start < indexes.length; start += batchMax) {
      const requests: NetlinkRequest[] = indexes.slice(start, start + batchMax).map((index) => ({
        message: changeLink({ index, group: marks.dyingGroup, isUp: false }),
        what: `mark link ${index} for removal`,
        tolerate: [errno.noDevice],
        undo: [changeLink({ index, group: marks.group, isUp: true })],
      }));
      requests.push({
        message: deleteLinkGroup(marks.dyingGroup),
        what: 'remove the marked links',
        tolerate: [errno.noDevice],
      });
      await run(netlink, [{ protocol: 'route', requests }], { timeoutMs: batch.timeoutMs });
    }
  };

  return {
    remove(indexes, budget) {
      if (indexes.length === 0) return Promise.resolve();
      if (gathered === undefined) {
        const batch = startGathering(budget.timeoutMs);
        gathered = batch;
        clock.after(gatherMs, () => {
          gathered = undefined;
          flush(batch).then(batch.resolve, batch.reject);
        });
      }
      for (const index of indexes) gathered.indexes.add(index);
      gathered.timeoutMs = Math.max(gathered.timeoutMs, budget.timeoutMs);
      return gathered.done;
    },
  };
}

interface Gathered {
  readonly indexes: Set<number>;
  readonly done: Promise<void>;
  readonly resolve: () => void;
  readonly reject: (reason: unknown) => void;
  timeoutMs: number;
}

function startGathering(timeoutMs: number): Gathered {
  let resolve: () => void = () => {};
  let reject: (reason: unknown) => void = () => {};
  const done = new Promise<void>((onResolve, onReject) => {
    resolve = onResolve;
    reject = onReject;
  });
  return { indexes: new Set(), done, resolve, reject, timeoutMs };
}
