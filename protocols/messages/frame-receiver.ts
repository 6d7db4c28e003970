// The receiving end of a numbered stream: puts messages in order into a queue, grants credit as they are taken, and
// notices what is missing. Core NATS gives neither order across a reconnect nor delivery nor back-pressure, so a gap
// ends the stream with UNAVAILABLE and its consumer resyncs. Invariant: never more than `window` messages held.

import { NsmError } from '../errors.ts';
import { MessageQueue } from './message-queue.ts';

export interface FrameReceiverOptions {
  readonly window: number;
  /** Tells the sender how many messages it may have sent in all. */
  readonly sendCredit: (total: number) => void;
  readonly onReturn?: () => void;
}

export class FrameReceiver<Item> {
  readonly queue: MessageQueue<Item>;
  readonly #window: number;
  #received = 0;
  #taken = 0;
  #granted: number;

  constructor(options: FrameReceiverOptions) {
    this.#window = options.window;
    this.#granted = options.window;
    this.queue = new MessageQueue<Item>({
      onTake: () => {
        this.#taken += 1;
        // Credit goes out in halves of the window, so that it costs little and the sender rarely waits.
        if (this.#granted - this.#taken > this.#window / 2 || this.queue.isEnded) return;
        this.#granted = this.#taken + this.#window;
        options.sendCredit(this.#granted);
      },
      ...(options.onReturn === undefined ? {} : { onReturn: options.onReturn }),
    });
  }

  get received(): number {
    return this.#received;
  }

  /** True where message number `count` is new and wanted; false for a repeated one. Throws on a gap or overrun. */
  admit(count: number): boolean {
    if (count <= this.#received) return false;
    if (count !== this.#received + 1) throw streamGap(this.#received, count - 1);
    if (count > this.#granted) {
      throw new NsmError('RESOURCE_EXHAUSTED', 'the peer sent more than it was granted', {
        rule: 'stream-credit',
        expected: `at most ${this.#granted} messages`,
        found: `message ${count}`,
      });
    }
    this.#received = count;
    return true;
  }

  /** The sender says how many it has sent. Throws where one of them is missing. */
  checkCount(count: number): void {
    if (count > this.#received) throw streamGap(this.#received, count);
  }
}

function streamGap(received: number, sent: number): NsmError {
  return new NsmError('UNAVAILABLE', 'messages of the stream were lost', {
    rule: 'stream-gap',
    expected: `${sent} messages`,
    found: `${received} messages`,
    remedy: 'open the stream again and resync',
  });
}
