// Subscriptions to events across connections: asked for anew on each, since VPP forgets them with the connection.
// Listeners that ask for the same share one, since VPP refuses a second.
// Invariants: no event after `stop`; a `lost` stands between two `subscribed`s.

import { asNsmError, NsmError } from '../../protocols/errors.ts';
import type { VppSubscription, VppSubscriptionEvent } from '../../protocols/ports/vpp.ts';
import { vppRefusal } from '../../protocols/vpp/return-codes.ts';
import type { VppFields } from '../../protocols/vpp/values.ts';
import type { VppSession } from './vpp-session.ts';

type Subscription = VppSubscription<string, string>;
type Listener = (event: VppSubscriptionEvent<string>) => void;

interface Group {
  readonly subscription: Subscription;
  readonly listeners: Set<Listener>;
  state: 'idle' | 'asked' | 'subscribed';
}

export class Subscriptions {
  readonly #max: number;
  readonly #groups = new Map<string, Group>();
  #session: VppSession | undefined;

  constructor(max: number) {
    this.#max = max;
  }

  add(subscription: Subscription, listener: Listener): () => void {
    const key = keyOf(subscription);
    const known = this.#groups.get(key);
    if (known === undefined && this.#groups.size >= this.#max) {
      throw new NsmError('RESOURCE_EXHAUSTED', 'the VPP client has too many subscriptions', {
        rule: 'subscriptions',
        expected: `at most ${this.#max}`,
        found: `${this.#groups.size}`,
        remedy: 'stop one',
      });
    }
    const group: Group = known ?? { subscription, listeners: new Set(), state: 'idle' };
    // Each time another, so that one function may listen twice.
    const own: Listener = (event) => listener(event);
    group.listeners.add(own);
    this.#groups.set(key, group);
    if (group.state === 'subscribed') own({ kind: 'subscribed' });
    else if (group.state === 'idle') this.#ask(group);
    return () => {
      group.listeners.delete(own);
      if (group.listeners.size > 0 || this.#groups.get(key) !== group) return;
      this.#groups.delete(key);
      this.#end(group);
    };
  }

  /** A new connection, before any call goes out on it. */
  connected(session: VppSession): void {
    this.#session = session;
    for (const group of this.#groups.values()) this.#ask(group);
  }

  lost(error: NsmError): void {
    this.#session = undefined;
    for (const group of this.#groups.values()) {
      if (group.state !== 'idle') fail(group, error);
    }
  }

  event(name: string, fields: VppFields): void {
    for (const { subscription, listeners, state } of this.#groups.values()) {
      if (subscription.event !== name || state === 'idle') continue;
      for (const listener of listeners) listener({ kind: 'event', name, fields });
    }
  }

  clear(): void {
    this.#groups.clear();
  }

  #ask(group: Group): void {
    const session = this.#session;
    if (session?.table === undefined) return;
    const { request, start, event } = group.subscription;
    try {
      session.table.checkEvent(event, request);
      group.state = 'asked';
      const context = session.send(session.table.request(request), start, {
        onMessage: (_, { retval }) => {
          session.forget(context);
          if (group.state !== 'asked') return;
          if (Number(retval) < 0) fail(group, vppRefusal(request, Number(retval)));
          else {
            group.state = 'subscribed';
            for (const listener of group.listeners) listener({ kind: 'subscribed' });
          }
        },
        onUnreadable: (error) => {
          session.forget(context);
          fail(group, error);
        },
      });
    } catch (error) {
      fail(group, asNsmError(error));
    }
  }

  #end(group: Group): void {
    const session = this.#session;
    if (group.state === 'idle' || session?.table === undefined) return;
    group.state = 'idle';
    const { request, stop } = group.subscription;
    // Nobody is left to hear why it does not end; it does with the connection.
    const done = (): void => session.forget(context);
    const context = session.send(session.table.request(request), stop, {
      onMessage: done,
      onUnreadable: done,
    });
  }
}

function fail(group: Group, error: NsmError): void {
  group.state = 'idle';
  for (const listener of group.listeners) listener({ kind: 'lost', error });
}

/** Two that ask VPP for the same. */
function keyOf({ event, request, start }: Subscription): string {
  return JSON.stringify([event, request, start], (_, value: unknown) =>
    typeof value === 'bigint' ? `${value}n` : value,
  );
}
