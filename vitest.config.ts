// How tests run: real processes (forks) rather than threads, since tests enter namespaces and open sockets. What computes
// alone shares a process per worker, which spares it the start; what starts processes of its own has one per file, waits
// more than it computes, and begins with the files that take longest.

import { availableParallelism } from 'node:os';
import { relative } from 'node:path';
import { defineConfig } from 'vitest/config';
import { BaseSequencer, type TestSpecification } from 'vitest/node';

const computing = ['actors', 'bench', 'formats', 'fuzz', 'protocols', 'scenarios'].map(
  (folder) => `test/${folder}/**/*.test.ts`,
);

/** Over 40 s each, the longest first; begun last, one of them would run alone at the end. */
const longest = [
  'contract/dataplane-kernel',
  'e2e/chaos',
  'e2e/heal',
  'e2e/repair',
  'e2e/soak',
  'e2e/svid-soak',
  'interop/start-order',
  'interop/chain',
  'bin/commands/demo',
  'contract/dataplane-ovs',
  'contract/dataplane-vpp',
  'e2e/restarts',
  'e2e/expiry',
  'bin/commands/up',
].map((name) => `test/${name}.test.ts`);

class LongestFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const sorted = await super.sort(files);
    const rank = ({ moduleId }: TestSpecification): number => {
      const found = longest.indexOf(relative(import.meta.dirname, moduleId));
      return found < 0 ? longest.length : found;
    };
    return sorted.toSorted((left, right) => rank(left) - rank(right));
  }
}

export default defineConfig({
  test: {
    pool: 'forks',
    // A test that hangs ends; one that starts several processes on a slow machine does not.
    testTimeout: 60_000,
    hookTimeout: 60_000,
    sequence: { sequencer: LongestFirst },
    projects: [
      {
        extends: true,
        test: {
          name: 'computing',
          include: computing,
          isolate: false,
          maxWorkers: 2,
          sequence: { groupOrder: 1 },
        },
      },
      {
        extends: true,
        test: {
          name: 'real',
          include: ['test/**/*.test.ts'],
          exclude: computing,
          maxWorkers: availableParallelism() + 1,
          sequence: { groupOrder: 0 },
        },
      },
    ],
  },
});
