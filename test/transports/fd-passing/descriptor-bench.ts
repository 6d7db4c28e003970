// A folder and clean-ups for tests with descriptors, and the promise that after each of them this process has no more
// of them open than before.

import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect } from 'vitest';
import { liveResources, noLeak } from '../../contract/rpc.ts';
import { eventually } from '../../sandbox/eventually.ts';

export const openDescriptors = (): number => readdirSync('/proc/self/fd').length;

export interface DescriptorBench {
  /** Of the test that runs. */
  folder: string;
  /** Run after it, newest first. */
  readonly cleanUps: (() => unknown)[];
}

export function useDescriptorBench(): DescriptorBench {
  const bench: DescriptorBench = { folder: '', cleanUps: [] };
  let before: Record<string, number>;
  let openBefore: number;

  beforeEach(() => {
    before = liveResources();
    openBefore = openDescriptors();
    bench.folder = mkdtempSync(join(tmpdir(), 'vwire-fds-'));
  });

  afterEach(async () => {
    for (const cleanUp of bench.cleanUps.splice(0).reverse()) await cleanUp();
    rmSync(bench.folder, { recursive: true, force: true });
    await noLeak(before);
    await eventually('descriptors as before', 5_000, () =>
      expect(openDescriptors()).toBeLessThanOrEqual(openBefore),
    );
  });
  return bench;
}
