// The rows of a long chaos run in a file, case by case, so that it can be done in several sittings: what is in the file
// is not run again, met or missed.

import { existsSync } from 'node:fs';
import { readFile, writeFile } from 'node:fs/promises';
import type { ChaosCase } from './case.ts';
import type { Row } from './row.ts';

interface Sittings {
  readonly sittings: number;
  readonly rows: readonly Row[];
}

/** Runs what the file has no row of; returns all of its rows, in the order of `order`, and after how many sittings. */
export async function resumed(
  file: string,
  options: {
    readonly cases: readonly ChaosCase[];
    readonly order: readonly ChaosCase[];
    readonly run: (each: ChaosCase) => Promise<readonly Row[]>;
  },
): Promise<Sittings> {
  const { cases, order, run } = options;
  let state = await read(file);
  const isDone = ({ name }: ChaosCase): boolean => state.rows.some((row) => row.name === name);
  const left = cases.filter((each) => !isDone(each));
  if (left.length > 0) state = { ...state, sittings: state.sittings + 1 };
  for (const each of left) {
    state = { ...state, rows: [...state.rows, ...(await run(each))] };
    await writeFile(file, `${JSON.stringify(state)}\n`);
  }
  const rows = order.flatMap(({ name }) => state.rows.find((row) => row.name === name) ?? []);
  return { ...state, rows };
}

async function read(file: string): Promise<Sittings> {
  if (!existsSync(file)) return { sittings: 0, rows: [] };
  const found: unknown = JSON.parse(await readFile(file, 'utf8'));
  if (isSittings(found)) return found;
  throw new Error(`${file} is not of a chaos run: expected {"sittings": number, "rows": [...]}`);
}

const isSittings = (found: unknown): found is Sittings =>
  typeof found === 'object' &&
  found !== null &&
  'sittings' in found &&
  'rows' in found &&
  typeof found.sittings === 'number' &&
  Array.isArray(found.rows);
