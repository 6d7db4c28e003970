// How tests run: real processes (forks) rather than threads, since tests enter namespaces and open sockets, and two
// workers, since data-plane tests load the machine they measure.

import { defineConfig } from 'vitest/config';

export default defineConfig({
  test: {
    include: ['test/**/*.test.ts'],
    pool: 'forks',
    maxWorkers: 2,
    testTimeout: 20_000,
    hookTimeout: 30_000,
  },
});
