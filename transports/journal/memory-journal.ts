// A journal without a file, for simulated meshes and for roles that were told to remember nothing. It outlives
// the owner that is handed it, so a test can crash and restart an owner on the same journal.

import type { Journal } from '../../protocols/ports/journal.ts';

export function createMemoryJournal(): Journal {
  const values = new Map<string, Uint8Array>();
  return {
    isDamaged: false,
    load: async () => new Map(values),
    put: async (key, value) => {
      values.delete(key);
      values.set(key, new Uint8Array(value));
    },
    delete: async (key) => void values.delete(key),
    close: async () => {},
  };
}
