// Streams whose age is held against trust: honest ones, opened again as often as they are replaced, and careless ones,
// whose client follows no rotation and believes in its old certificate, so that only the server can end them.

import { create } from '@bufbuild/protobuf';
import type { Platform } from '../../../bin/roles/platform.ts';
import { asNsmError, describeError } from '../../../protocols/errors.ts';
import { isConnectionReplaced } from '../../../protocols/messages/replaced-connection.ts';
import {
  MonitorConnection,
  MonitorScopeSelectorSchema,
} from '../../../protocols/nsm/gen/connection_pb.ts';
import type { Identity, IdentitySnapshot } from '../../../protocols/ports/identity.ts';
import type { Dialer } from '../../../protocols/ports/rpc.ts';
import { createGrpc } from '../../../transports/grpc/grpc.ts';

export interface StreamFigures {
  /** Streams that have ended, each by a replacement. */
  replaced: number;
  /** The least that was left of trust when one ended, in ms; negative: it was older than trust. */
  leastLeftMs: number;
  careless: number;
  /** The longest that a careless one outlived its certificate, in ms. */
  outlivedMs: number;
  /** What ended a stream besides that. */
  readonly failures: string[];
}

const hourMs = 3_600_000;
/** Between two careless streams to a manager. */
const carelessEveryMs = 5_000;

export class WatchedStreams {
  readonly figures: StreamFigures = {
    replaced: 0,
    leastLeftMs: Infinity,
    careless: 0,
    outlivedMs: -Infinity,
    failures: [],
  };
  readonly #platform: Platform;
  readonly #urls: readonly string[];
  readonly #stop = new AbortController();
  readonly #running: Promise<void>[] = [];
  #careless: NodeJS.Timeout | undefined;

  constructor(platform: Platform, urls: readonly string[]) {
    this.#platform = platform;
    this.#urls = urls;
  }

  start(): void {
    for (const url of this.#urls) this.#running.push(this.#honest(url));
    const open = (): void => {
      for (const url of this.#urls) this.#running.push(this.#carelessOne(url));
    };
    open();
    this.#careless = setInterval(open, carelessEveryMs);
  }

  async end(): Promise<void> {
    clearInterval(this.#careless);
    this.#stop.abort();
    await Promise.all(this.#running);
  }

  get #identity(): Identity {
    const { identity } = this.#platform;
    if (identity === undefined) throw new Error('streams are watched where there are identities');
    return identity;
  }

  async #honest(url: string): Promise<void> {
    const { figures } = this;
    while (!this.#stop.signal.aborted) {
      const own = this.#identity.current()?.svid.notAfterMs ?? 0;
      const stream = await this.#lived(this.#platform.dialer, url);
      if (stream === undefined) return;
      const { error, endedMs, trustedUntilMs } = stream;
      if (!isConnectionReplaced(error)) {
        figures.failures.push(describeError(error));
        continue;
      }
      figures.replaced += 1;
      const leftMs = Math.min(own, trustedUntilMs) - endedMs;
      figures.leastLeftMs = Math.min(figures.leastLeftMs, leftMs);
    }
  }

  async #carelessOne(url: string): Promise<void> {
    const { clock, wallClock } = this.#platform;
    const old = this.#identity.current();
    if (old === undefined) return;
    const { dialer } = createGrpc({
      clock,
      tls: { identity: believing(this.#identity, old), wallClock },
    });
    try {
      const stream = await this.#lived(dialer, url);
      if (stream === undefined) return;
      this.figures.careless += 1;
      const outlivedMs = stream.endedMs - old.svid.notAfterMs;
      this.figures.outlivedMs = Math.max(this.figures.outlivedMs, outlivedMs);
    } finally {
      await dialer.close();
    }
  }

  /** One stream, from its first message to its end; undefined where it was ended from here. */
  async #lived(dialer: Dialer, url: string) {
    const { signal } = this.#stop;
    let trustedUntilMs = Infinity;
    const events = dialer
      .dial(url)
      .client(MonitorConnection)
      .monitorConnections(create(MonitorScopeSelectorSchema), {
        signal,
        onPeer: (peer) => {
          trustedUntilMs = peer.trustedUntilMs ?? Infinity;
        },
      });
    let error = asNsmError(new Error('the stream ended without a word'));
    try {
      for await (const _ of events) if (signal.aborted) return undefined;
    } catch (thrown) {
      error = asNsmError(thrown);
    }
    if (signal.aborted) return undefined;
    return { error, endedMs: this.#platform.wallClock.epochMs(), trustedUntilMs };
  }
}

/** An identity that stays as it was, and takes its own end and that of whom it meets for far away. */
function believing(identity: Identity, { svid, ...rest }: IdentitySnapshot): Identity {
  const frozen = { ...rest, svid: { ...svid, notAfterMs: svid.notAfterMs + hourMs } };
  return {
    current: () => frozen,
    watch: () => () => {},
    verifyPeer: (chain: readonly Uint8Array[]) => {
      const verified = identity.verifyPeer(chain);
      return { ...verified, notAfterMs: verified.notAfterMs + hourMs };
    },
  } as unknown as Identity;
}
