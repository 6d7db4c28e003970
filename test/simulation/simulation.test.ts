// Protects every promise of docs/simulation.md: runs that failed once, then a range of seeds that is the same each time
// unless VWIRE_SIM_FROM says where to begin and VWIRE_SIM_SEEDS how many. A failure prints what is needed to replay it.

import { spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { expect, it } from 'vitest';

const program = fileURLToPath(new URL('cli.ts', import.meta.url));
const from = process.env['VWIRE_SIM_FROM'] ?? '1';
/** A range that has held once is there for what changes; `npm run sim` looks for what nobody has seen. */
const seeds = process.env['VWIRE_SIM_SEEDS'] ?? '80';
/** A loaded machine is not held up. */
const minutes = '4';

function simulate(...args: readonly string[]): Promise<{ code: number | null; output: string }> {
  const child = spawn(process.execPath, ['--import', 'tsx', program, ...args], {
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let output = '';
  child.stdout.on('data', (chunk: unknown) => (output += String(chunk)));
  child.stderr.on('data', (chunk: unknown) => (output += String(chunk)));
  return new Promise((resolve) => {
    child.on('close', (code) => resolve({ code, output }));
  });
}

it('runs that failed once hold', { timeout: 120_000 }, async () => {
  const { code, output } = await simulate('--corpus');
  expect(code, output).toBe(0);
});

it(`seeds from ${from} on hold every invariant`, { timeout: 300_000 }, async () => {
  const { code, output } = await simulate('--seeds', seeds, '--from', from, '--minutes', minutes);
  expect(code, output).toBe(0);
});
