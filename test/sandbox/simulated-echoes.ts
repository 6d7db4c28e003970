// Echo lines of a simulated mesh: whether an echo is answered says the test, or the wires that the simulated kernels
// hold. Time is the mesh's clock; a reply comes after a round trip of its own.

import type { Clock } from '../../protocols/ports/clock.ts';
import type { EchoLine, OpenEchoLine } from '../../protocols/ports/liveness.ts';
import type { AddressPair } from '../../protocols/nsm/probed-wire.ts';

/** What becomes of an echo: a reply, nothing, or it cannot be sent. */
export type Fate = 'answered' | 'lost' | 'hindered';

export interface SimulatedEchoes {
  readonly open: OpenEchoLine;
  /** Lines that are open. */
  readonly openLines: number;
  /** Echoes that went out. */
  readonly sent: number;
}

export function simulatedEchoes(
  clock: Clock,
  fateOf: (pair: AddressPair) => Fate,
  roundTripMs: () => number = () => 0.2,
): SimulatedEchoes {
  const open = new Set<EchoLine>();
  let sent = 0;
  return {
    get openLines() {
      return open.size;
    },
    get sent() {
      return sent;
    },
    open: (pair) => {
      if (fateOf(pair) === 'hindered') return undefined;
      let replies: { readonly sequence: number; readonly atMs: number }[] = [];
      const line: EchoLine = {
        send(sequence) {
          const fate = fateOf(pair);
          if (fate === 'hindered') return false;
          sent += 1;
          if (fate === 'answered') replies.push({ sequence, atMs: clock.nowMs() + roundTripMs() });
          return true;
        },
        receive() {
          const nowMs = clock.nowMs();
          const come = replies.filter(({ atMs }) => atMs <= nowMs);
          replies = replies.filter(({ atMs }) => atMs > nowMs);
          return come.map(({ sequence }) => sequence);
        },
        close: () => void open.delete(line),
      };
      open.add(line);
      return line;
    },
  };
}
