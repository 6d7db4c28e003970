// The liveness of a client's one connection, as its actor uses it: at most one watch at a time, renewed where the wire
// is another one. Without a liveness check everything is unknown.

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
  stop(): void;
}

export function createWireWatch(liveness: Liveness | undefined): WireWatch {
  let watch: LivenessWatch | undefined;
  let followed = '';
  return {
    get verdict() {
      return watch?.verdict ?? unknownVerdict;
    },
    confirm: () => watch?.confirm() ?? Promise.resolve(unknownVerdict),
    follow(connection, isNew, onChange) {
      const wire = JSON.stringify(probedWire(connection));
      if (!isNew && watch !== undefined && followed === wire) return;
      watch?.stop();
      followed = wire;
      watch = liveness?.watch(connection, onChange);
    },
    stop() {
      watch?.stop();
      watch = undefined;
    },
  };
}
