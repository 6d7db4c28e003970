// Several checks of one connection as one: dead where one of them says so, alive where none does and one knows.

import type { Connection } from '../../protocols/nsm/gen/connection_pb.ts';
import {
  type Liveness,
  type LivenessWatch,
  unknownVerdict,
  type Verdict,
} from '../../protocols/ports/liveness.ts';

export function joinLiveness(parts: readonly Liveness[]): Liveness {
  const [first] = parts;
  if (first !== undefined && parts.length === 1) return first;
  return { watch: (connection, onVerdict) => joined(parts, connection, onVerdict) };
}

function joined(
  parts: readonly Liveness[],
  connection: Connection,
  onVerdict: (verdict: Verdict) => void,
): LivenessWatch {
  let told: Verdict['kind'] = 'unknown';
  const watches: LivenessWatch[] = [];
  const worst = (): Verdict => worstOf(watches.map(({ verdict }) => verdict));
  for (const part of parts) {
    const watch = part.watch(connection, () => {
      const verdict = worst();
      if (verdict.kind === told) return;
      told = verdict.kind;
      onVerdict(verdict);
    });
    watches.push(watch);
  }
  return {
    get verdict() {
      return worst();
    },
    async confirm() {
      await Promise.all(watches.map((watch) => watch.confirm()));
      return worst();
    },
    stop() {
      for (const watch of watches) watch.stop();
    },
  };
}

/** The first that is dead, else one that is alive. */
export function worstOf(verdicts: readonly Verdict[]): Verdict {
  return (
    verdicts.find(({ kind }) => kind === 'dead') ??
    verdicts.find(({ kind }) => kind === 'alive') ??
    unknownVerdict
  );
}
