// VPP's counters, read out of the memory that it shares on its statistics socket, without a call to VPP.
// Invariants: the memory is asked for once and read in place by position; what VPP was changing is read again until the
// deadline; nothing waits but for timers; after `close` no descriptor is left.

import { closeSync, fstatSync, readSync } from 'node:fs';
import { NsmError } from '../../protocols/errors.ts';
import type { Clock } from '../../protocols/ports/clock.ts';
import type { Budget } from '../../protocols/ports/dataplane.ts';
import type { VppStatistics } from '../../protocols/ports/vpp.ts';
import type { SegmentReader } from '../../protocols/vpp/statistics-segment.ts';
import { createSegmentReader } from '../../protocols/vpp/statistics-segment.ts';
import { connectSeqpacket, receiveFile } from './seqpacket-file.ts';

export interface VppStatisticsOptions {
  /** `statseg { socket-name ... }` of VPP: `/run/vpp/stats.sock`. */
  readonly socketPath: string;
  readonly clock: Clock;
}

/** Nothing is opened before the first read. */
export function createVppStatistics(options: VppStatisticsOptions): VppStatistics {
  return new Statistics(options);
}

/** Nothing tells when VPP's main loop has come to the socket, or has done with a change; both take some ms at most. */
const lookAgainAfterMs = 2;

interface Opened {
  readonly descriptor: number;
  readonly reader: SegmentReader;
}

class Statistics implements VppStatistics {
  readonly #options: VppStatisticsOptions;
  #opened: Opened | undefined;
  #isClosed = false;

  constructor(options: VppStatisticsOptions) {
    this.#options = options;
  }

  read: VppStatistics['read'] = (names, budget) =>
    this.#look((reader) => reader.read(names), budget);

  names: VppStatistics['names'] = (budget) => this.#look((reader) => reader.names(), budget);

  reopen(): void {
    if (this.#opened !== undefined) closeSync(this.#opened.descriptor);
    this.#opened = undefined;
  }

  close(): void {
    this.#isClosed = true;
    this.reopen();
  }

  async #look<Result>(
    look: (reader: SegmentReader) => Result | undefined,
    budget: Budget,
  ): Promise<Result> {
    const patience = this.#patience(budget);
    if (this.#opened === undefined) await this.#open(patience);
    return this.#until(patience, 'a moment without a change', () => {
      if (this.#opened === undefined) throw this.#closedError();
      return look(this.#opened.reader);
    });
  }

  /** Each caller by itself, within its own deadline; whoever comes second finds it done. */
  async #open(patience: Patience): Promise<void> {
    const { socketPath } = this.#options;
    const connection = connectSeqpacket(socketPath);
    try {
      const descriptor = await this.#until(patience, 'the memory of VPP', () =>
        receiveFile(connection, socketPath),
      );
      if (this.#isClosed || this.#opened !== undefined) closeSync(descriptor);
      else this.#opened = { descriptor, reader: createSegmentReader(memoryOf(descriptor)) };
    } finally {
      closeSync(connection);
    }
  }

  /** The first result there is, looked for again and again. */
  async #until<Result>(
    { endMs, signal, timeoutMs }: Patience,
    what: string,
    look: () => Result | undefined,
  ): Promise<Result> {
    for (;;) {
      if (this.#isClosed) throw this.#closedError();
      if (signal?.aborted === true) throw this.#error('CANCELLED', what, 'cancelled');
      const result = look();
      if (result !== undefined) return result;
      if (this.#options.clock.nowMs() >= endMs) {
        throw this.#error('DEADLINE_EXCEEDED', what, `none in ${timeoutMs} ms`);
      }
      await new Promise<void>((resolve) => {
        this.#options.clock.after(lookAgainAfterMs, resolve);
      });
    }
  }

  #patience(budget: Budget): Patience {
    return { ...budget, endMs: this.#options.clock.nowMs() + budget.timeoutMs };
  }

  #closedError(): NsmError {
    return this.#error('UNAVAILABLE', 'an open segment', 'closed');
  }

  #error(
    code: 'UNAVAILABLE' | 'CANCELLED' | 'DEADLINE_EXCEEDED',
    expected: string,
    found: string,
  ): NsmError {
    return new NsmError(code, 'the statistics of VPP cannot be read', {
      hop: `VPP at ${this.#options.socketPath}`,
      rule: 'statistics',
      expected,
      found,
    });
  }
}

interface Patience extends Budget {
  readonly endMs: number;
}

function memoryOf(descriptor: number) {
  return {
    /** VPP's segment has its full size from the start. */
    length: fstatSync(descriptor).size,
    read(offset: number, length: number): Uint8Array {
      const bytes = new Uint8Array(length);
      const count = readSync(descriptor, bytes, 0, length, offset);
      return count === length ? bytes : bytes.subarray(0, count);
    },
  };
}
