// The way to one URL: a line made with the first call, closed when no call has used it for a while, and replaced when
// it retires.

import type { ChannelOptions } from '@grpc/grpc-js';
import type { Clock, Timer } from '../../protocols/ports/clock.ts';
import type { CallHeaders } from '../../protocols/ports/rpc.ts';
import type { LineCall } from './grpc-line.ts';
import { Line } from './grpc-line.ts';
import type { MutualTls, OwnSides } from './mutual-tls.ts';
import type { FdPassing } from './passing-credentials.ts';

export interface ConnectionInit {
  readonly url: string;
  readonly target: string;
  readonly channelOptions: ChannelOptions;
  readonly clock: Clock;
  readonly idleMs: number;
  readonly tls: (MutualTls & { readonly own: OwnSides }) | undefined;
  readonly callHeaders: CallHeaders | undefined;
  readonly fdPassing: FdPassing | undefined;
  readonly onChange: (isOpen: boolean) => void;
}

export class GrpcConnection {
  readonly #init: ConnectionInit;
  readonly #lines = new Set<Line>();
  #current: Line | undefined;
  #calls = 0;
  #idle: Timer | undefined;

  constructor(init: ConnectionInit) {
    this.#init = init;
  }

  /** Takes a line for one call. Errors: UNAUTHENTICATED (no own identity). */
  acquire(): Line {
    this.#current ??= this.#open();
    this.#idle?.cancel();
    this.#idle = undefined;
    this.#calls += 1;
    return this.#current;
  }

  release(line: Line, call: LineCall): void {
    line.end(call);
    this.#calls -= 1;
    if (this.#calls > 0 || this.#lines.size === 0) return;
    this.#idle = this.#init.clock.after(this.#init.idleMs, () => this.close());
  }

  /** The own identity is another one now. */
  replace(): void {
    this.#current?.retire('one from before a renewal');
  }

  close(): void {
    this.#idle?.cancel();
    this.#idle = undefined;
    for (const line of this.#lines) line.close();
  }

  #open(): Line {
    const { tls } = this.#init;
    const line = new Line({
      ...this.#init,
      tls: tls && { ...tls, own: tls.own.current() },
      onRetired: () => {
        if (this.#current === line) this.#current = undefined;
      },
      onClosed: () => {
        this.#lines.delete(line);
        if (this.#current === line) this.#current = undefined;
        if (this.#lines.size === 0) this.#init.onChange(false);
      },
    });
    this.#lines.add(line);
    if (this.#lines.size === 1) this.#init.onChange(true);
    return line;
  }
}
