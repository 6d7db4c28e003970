// One MonitorConnections stream to a next hop, opened again as long as a connection needs it: with back-off where it was
// lost, which is DOWN for each of its connections once, and at once where its connection was replaced for new
// certificates, which is DOWN only for those that the new stream does not tell of.

import { create } from '@bufbuild/protobuf';
import { describeError } from '../../protocols/errors.ts';
import { Replacements } from '../../protocols/messages/replaced-connection.ts';
import {
  type ConnectionEvent,
  MonitorConnection,
  MonitorScopeSelectorSchema,
} from '../../protocols/nsm/gen/connection_pb.ts';
import type { Clock, Timer } from '../../protocols/ports/clock.ts';
import type { Log } from '../../protocols/ports/log.ts';
import type { Random } from '../../protocols/ports/random.ts';
import type { Dialer } from '../../protocols/ports/rpc.ts';
import type { NextHopChanged } from './connection.ts';

export type NextHopMessage = NextHopChanged | { readonly type: 'nextHopLost' };

export type NextHopListener = (message: NextHopMessage) => void;

export interface NextHopMonitorsSetup {
  /** Own component name: the segment name that the next hop's events are selected by. */
  readonly name: string;
  readonly dialer: Dialer;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
}

/** Pause before a stream is opened again, doubled up to the longest, with up to half of it taken off at random. */
const reopenAfterMs = 100;
const reopenAfterMsMax = 2_000;

/** How long a new stream has to tell of the connections that the replaced one followed, once it has begun to. */
const retellMs = 1_000;
/** And how long it has to begin: it may have to wait for a handshake. */
const openMs = 10_000;

export class NextHopStream {
  readonly url: string;
  /** By own id. */
  readonly listeners = new Map<string, NextHopListener>();
  readonly #setup: NextHopMonitorsSetup;
  readonly #onEvent: (event: ConnectionEvent) => void;
  readonly #abort = new AbortController();
  /** Followed by the stream before, and not told of by the one that replaces it. */
  readonly #untold = new Set<string>();
  #reopen: Timer | undefined;
  #settle: Timer | undefined;
  #failures = 0;
  readonly #replacements = new Replacements();
  /** The stream before was replaced, and this one has not said anything yet. */
  #isTakingOver = false;

  constructor(
    setup: NextHopMonitorsSetup,
    url: string,
    onEvent: (stream: NextHopStream, event: ConnectionEvent) => void,
  ) {
    this.#setup = setup;
    this.url = url;
    this.#onEvent = (event) => onEvent(this, event);
  }

  open(): void {
    const openedMs = this.#setup.clock.nowMs();
    void this.#read().then(
      (reason) => this.#ended(reason),
      (error: unknown) => {
        const livedMs = this.#setup.clock.nowMs() - openedMs;
        if (this.#replacements.mayReopen(error, livedMs)) this.#replaced();
        else this.#ended(describeError(error));
      },
    );
  }

  close(): void {
    this.#reopen?.cancel();
    this.#settle?.cancel();
    this.#abort.abort();
  }

  /** The new stream has told of it. */
  told(id: string): void {
    this.#untold.delete(id);
  }

  leave(id: string): void {
    this.listeners.delete(id);
    this.#untold.delete(id);
  }

  tellLost(): void {
    for (const tell of this.listeners.values()) tell({ type: 'nextHopLost' });
  }

  async #read(): Promise<string> {
    const { name, dialer } = this.#setup;
    const selector = create(MonitorScopeSelectorSchema, { pathSegments: [{ name }] });
    const client = dialer.dial(this.url).client(MonitorConnection);
    for await (const event of client.monitorConnections(selector, { signal: this.#abort.signal })) {
      if (this.#isTakingOver) this.#settleIn(retellMs);
      this.#isTakingOver = false;
      this.#failures = 0;
      this.#onEvent(event);
    }
    return 'the stream ended';
  }

  #replaced(): void {
    if (this.#abort.signal.aborted) return;
    this.#isTakingOver = true;
    for (const id of this.listeners.keys()) this.#untold.add(id);
    this.#settleIn(openMs);
    this.open();
  }

  #settleIn(ms: number): void {
    this.#settle?.cancel();
    this.#settle = this.#setup.clock.after(ms, () => this.#tellUntold());
  }

  #ended(reason: string): void {
    if (this.#abort.signal.aborted) return;
    const { clock, log, random } = this.#setup;
    log.warn('lost the monitor of a next hop', { url: this.url, reason });
    if (this.#failures === 0 && !this.#isTakingOver) this.tellLost();
    else this.#tellUntold();
    this.#isTakingOver = false;
    this.#failures += 1;
    this.#reopen = clock.after(reopenDelayMs(this.#failures, random), () => this.open());
  }

  #tellUntold(): void {
    this.#settle?.cancel();
    for (const id of this.#untold) this.listeners.get(id)?.({ type: 'nextHopLost' });
    this.#untold.clear();
  }
}

/** Jittered, since after a restart of the bus all nodes would come at the same time otherwise. */
function reopenDelayMs(failures: number, random: Random): number {
  const full = Math.min(reopenAfterMsMax, reopenAfterMs * 2 ** (failures - 1));
  return full * (1 - random.integer(1000) / 2000);
}
