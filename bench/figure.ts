// One measured figure of a bench, in the one shape that all suites return, and the arithmetic that they share.
// A limit is measured in the same run as the value beside it, so that the machine's speed cancels out of the ratio.

export interface Figure {
  readonly suite: string;
  readonly name: string;
  readonly value: number;
  /** `per s`, `ms`, `us`, `bytes`, `kB`, `Gbit/s` or `x` for a bare ratio. */
  readonly unit: string;
  /** What the value is held against, from the same run. */
  readonly limitName?: string;
  readonly limitValue?: number;
  /** The value divided by the limit's. */
  readonly ratio?: number;
  /** For people: `>= 300` or `<= 1.5x`; empty where nothing is promised. */
  readonly target: string;
  readonly met: boolean;
  readonly note?: string;
}

/** Tells people that a long run lives. */
export type Progress = (text: string) => void;

export type RunSuite = (progress: Progress) => Promise<readonly Figure[]>;

export type Measured = Omit<Figure, 'ratio' | 'target' | 'met'>;

/** What is promised: of the value, or of its ratio to the limit. */
export interface Promised {
  readonly of: 'value' | 'ratio';
  readonly atLeast?: number;
  readonly atMost?: number;
}

export function judge(measured: Measured, promised?: Promised): Figure {
  const { value, limitValue } = measured;
  const withRatio =
    limitValue === undefined ? measured : { ...measured, ratio: value / limitValue };
  if (promised === undefined) return { ...withRatio, target: '', met: true };
  const judged = promised.of === 'value' ? value : value / (limitValue ?? Number.NaN);
  const { atLeast, atMost } = promised;
  const mark = promised.of === 'ratio' ? 'x' : '';
  const bound = atLeast ?? atMost ?? Number.NaN;
  const met = atLeast === undefined ? judged <= bound : judged >= bound;
  const target = `${atLeast === undefined ? '<=' : '>='} ${bound.toLocaleString('en')}${mark}`;
  return { ...withRatio, target, met };
}

/** The value that `share` of all do not exceed. NaN of an empty list. */
export function percentile(values: readonly number[], share: number): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? Number.NaN;
}

export function median(values: readonly number[]): number {
  return percentile(values, 0.5);
}

/** The median of the p99s of `stretches` parts of a run, so that one pause of a shared machine does not decide. */
export function medianP99(values: readonly number[], stretches = 5): number {
  const length = Math.floor(values.length / stretches);
  const parts = Array.from({ length: stretches }, (_, at) =>
    values.slice(at * length, (at + 1) * length),
  );
  return median(parts.map((part) => percentile(part, 0.99)));
}

/** Runs `work` `count` times with at most `inFlight` at once; resolves with how many there were a second. */
export async function ratePerSecond(
  count: number,
  inFlight: number,
  work: (index: number) => Promise<unknown>,
): Promise<number> {
  const startMs = performance.now();
  let next = 0;
  const worker = async (): Promise<void> => {
    for (let index = next++; index < count; index = next++) await work(index);
  };
  await Promise.all(Array.from({ length: inFlight }, worker));
  return (count * 1_000) / (performance.now() - startMs);
}

/** Thrown by a suite that this machine cannot run; the message says why. */
export class Skipped extends Error {}
