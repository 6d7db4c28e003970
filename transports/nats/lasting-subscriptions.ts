// Subscriptions that outlive the connection that carries them: they move to the next one without a moment in which
// nobody listens.

import type { NatsConnection, Subscription, SubscriptionOptions } from '@nats-io/transport-node';

export interface BusSubscription {
  unsubscribe(): void;
}

interface Lasting {
  readonly subject: string;
  readonly options: SubscriptionOptions;
  current: Subscription;
}

export class LastingSubscriptions {
  readonly #all = new Set<Lasting>();

  add(connection: NatsConnection, subject: string, options: SubscriptionOptions): BusSubscription {
    const lasting = { subject, options, current: connection.subscribe(subject, options) };
    this.#all.add(lasting);
    return {
      unsubscribe: () => {
        this.#all.delete(lasting);
        end(lasting.current);
      },
    };
  }

  /** Resolves once the server has taken all of them; until then, and where that fails, the old ones are there. */
  async move(next: NatsConnection): Promise<void> {
    const made = new Map<Lasting, Subscription>();
    const subscribe = (lasting: Lasting): void => {
      made.set(lasting, next.subscribe(lasting.subject, lasting.options));
    };
    for (const lasting of this.#all) subscribe(lasting);
    await next.flush();
    for (const lasting of this.#all) {
      // Made meanwhile, on the connection before.
      if (!made.has(lasting)) subscribe(lasting);
    }
    for (const [lasting, subscription] of made) {
      if (this.#all.has(lasting)) {
        leave(lasting.current);
        lasting.current = subscription;
      } else end(subscription);
    }
  }
}

/** What the server has sent already is still taken. */
function leave(subscription: Subscription): void {
  // On a connection that is lost nothing is on its way.
  if (!subscription.isClosed()) subscription.drain().catch(() => {});
}

function end(subscription: Subscription): void {
  if (!subscription.isClosed()) subscription.unsubscribe();
}
