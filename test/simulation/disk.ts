// What a simulated process keeps over its lives: a journal whose changes reach the disk in order, a little after they
// were asked for, and of which a kill leaves any prefix. An acknowledged change is never lost.

import { NsmError } from '../../protocols/errors.ts';
import type { Journal } from '../../protocols/ports/journal.ts';
import type { Life } from './life.ts';

type Change = (values: Map<string, Uint8Array>) => void;

export class Disk {
  readonly values = new Map<string, Uint8Array>();
  /** Until then every change is refused. */
  fullUntilMs = Number.NEGATIVE_INFINITY;

  journalOf(life: Life, nowMs: () => number): Journal {
    const waiting: Change[] = [];
    let last: Promise<void> = Promise.resolve();
    const flushOne = (): void => waiting.shift()?.(this.values);
    const change = async (apply: Change): Promise<void> => {
      life.step();
      if (nowMs() < this.fullUntilMs) {
        throw new NsmError('RESOURCE_EXHAUSTED', 'no space left on device', { rule: 'journal' });
      }
      waiting.push(apply);
      const before = last;
      const written = (async () => {
        await before;
        await life.pause(life.random.between(0.01, 0.5));
        life.step();
        if (life.isAlive) flushOne();
        // On the disk, and its owner may end before it hears so.
        life.step();
        if (!life.isAlive) await new Promise(() => {});
      })();
      last = written;
      await written;
    };
    return {
      load: async () => {
        await life.pause(life.random.between(0.1, 2));
        return new Map(this.values);
      },
      put: (key, value) => {
        const copy = new Uint8Array(value);
        return change((values) => {
          values.delete(key);
          values.set(key, copy);
        });
      },
      delete: (key) => change((values) => void values.delete(key)),
      close: () => last,
      isDamaged: false,
    };
  }
}
