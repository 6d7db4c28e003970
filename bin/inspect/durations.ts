// Spans of time as people read them: `840 ms`, `12 s`, `9 min 58 s`, `3 h 5 min`, `2 d 4 h`.

const units = [
  ['d', 86_400_000],
  ['h', 3_600_000],
  ['min', 60_000],
  ['s', 1_000],
] as const;

/** The two largest units; `-` for what is not known, `over` for what has passed. */
export function spanText(ms: number | null): string {
  if (ms === null || !Number.isFinite(ms)) return '-';
  if (ms < 0) return 'over';
  if (ms < 1_000) return `${Math.round(ms)} ms`;
  const largest = units.findIndex(([, size]) => ms >= size);
  let rest = ms;
  const parts = units.slice(largest, largest + 2).map(([unit, size]) => {
    const count = Math.floor(rest / size);
    rest -= count * size;
    return count === 0 ? '' : `${count} ${unit}`;
  });
  return parts.filter(Boolean).join(' ');
}
