// The liveness of a client's one connection, as its actor uses it: at most one watch at a time, renewed where the wire
// is another one. Without a liveness check everything is unknown, unless a hop knows for certain that the wire is dead.

import { probedWire } from '../../protocols/nsm/probed-wire.ts';
import type { Connection } from '../../protocols/nsm/gen/connection_pb.ts';
import {
  type Liveness,
  type LivenessWatch,
  unknownVerdict,
  type Verdict,
} from '../../protocols/ports/liveness.ts';

export interface WireWatch {
  readonly verdict: Verdict;
  confirm(): Promise<Verdict>;
  /** `isNew`: the same addresses may lead to another Endpoint now, so what was known of them counts no more. */
  follow(connection: Connection, isNew: boolean, onChange: () => void): void;
  /** Its other end is gone: dead until another one is followed, whatever probes say, and nobody waits for them. */
  condemn(found: string): void;
  stop(): void;
}

export function createWireWatch(liveness: Liveness | undefined): WireWatch {
  let watch: LivenessWatch | undefined;
  let followed = '';
  let condemned: Verdict | undefined;
  let onCondemned = (): void => {};
  const verdict = (): Verdict => condemned ?? watch?.verdict ?? unknownVerdict;
  return {
    get verdict() {
      return verdict();
    },
    async confirm() {
      if (condemned !== undefined || watch === undefined) return verdict();
      const condemning = new Promise<void>((resolve) => (onCondemned = resolve));
      await Promise.race([watch.confirm(), condemning]);
      return verdict();
    },
    follow(connection, isNew, onChange) {
      const wire = JSON.stringify(probedWire(connection));
      if (!isNew && watch !== undefined && followed === wire) return;
      condemned = undefined;
      watch?.stop();
      followed = wire;
      watch = liveness?.watch(connection, onChange);
    },
    condemn(found) {
      condemned = { kind: 'dead', what: 'wire', found };
      onCondemned();
    },
    stop() {
      watch?.stop();
      condemned = undefined;
      watch = undefined;
    },
  };
}
