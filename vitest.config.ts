// How tests run: real processes (forks) rather than threads, since tests enter namespaces and open sockets, and two
// workers, since data-plane tests load the machine they measure.

import { defineConfig } from 'vitest/config';

export default defineConfig({
  test: {
    include: ['test/**/*.test.ts'],
    pool: 'forks',
    maxWorkers: 2,
    // A test that hangs ends; one that starts several processes on a slow machine does not.
    testTimeout: 60_000,
    hookTimeout: 60_000,
  },
});
