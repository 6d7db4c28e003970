// The services that the RPC contract suite serves, in this process or in a child: what a handler does is chosen by
// the request, and what happened to it is told to a probe.

import { create } from '@bufbuild/protobuf';
import { EmptySchema } from '@bufbuild/protobuf/wkt';
import { NsmError } from '../../protocols/errors.ts';
import {
  ConnectionEventSchema,
  ConnectionSchema,
  MonitorConnection,
  type Connection,
  type ConnectionEvent,
} from '../../protocols/nsm/gen/connection_pb.ts';
import { IPAM, PrefixResponseSchema } from '../../protocols/nsm/gen/ipam_pb.ts';
import { NetworkService } from '../../protocols/nsm/gen/networkservice_pb.ts';
import type { Clock } from '../../protocols/ports/clock.ts';
import { serve, type CallContext, type ServedService } from '../../protocols/ports/rpc.ts';

/** What happened, in order; a test waits for what it expects. */
export class Probe {
  readonly events: string[] = [];
  /** Stream messages that handlers have handed over. */
  produced = 0;
  /** How often a handler ran, by the request's connection id. */
  readonly executions = new Map<string, number>();
  readonly #waiters = new Set<() => void>();

  tell(event: string): void {
    this.events.push(event);
    for (const wake of this.#waiters) wake();
  }

  async seen(event: string, timeoutMs = 5000): Promise<void> {
    if (this.events.includes(event)) return;
    await new Promise<void>((resolve, reject) => {
      const wake = (): void => {
        if (!this.events.includes(event)) return;
        this.#waiters.delete(wake);
        clearTimeout(timer);
        resolve();
      };
      const timer = setTimeout(() => {
        this.#waiters.delete(wake);
        reject(new Error(`never saw "${event}", only ${JSON.stringify(this.events)}`));
      }, timeoutMs);
      this.#waiters.add(wake);
    });
  }
}

/** Every detail, with characters that a careless encoding would break. */
export const refusal = new NsmError('PERMISSION_DENIED', 'the rule "ü" refuses\nit: 100 %', {
  hop: 'forwarder-1',
  rule: 'tokens-valid',
  expected: 'a token = valid',
  found: 'none; \u{1F600}',
  remedy: 'ask for one',
  connectionId: 'c/1@dom',
});

export function testServices(clock: Clock, probe: Probe): ServedService[] {
  return [
    serve(NetworkService, {
      request: (request, context) => onRequest(request.connection, context, clock, probe),
      close: (connection) => {
        probe.tell(`closed ${connection.id}`);
        return Promise.resolve(create(EmptySchema));
      },
    }),
    serve(MonitorConnection, {
      monitorConnections: (selector, context) => {
        const [kind = '', count = '0'] = selector.networkServices;
        return monitor(kind, Number(count), context, probe);
      },
    }),
    serve(IPAM, {
      async *managePrefixes(requests, context) {
        context.signal.addEventListener('abort', () => probe.tell('ipam aborted'));
        for await (const request of requests) {
          yield create(PrefixResponseSchema, { prefix: request.prefix });
        }
        probe.tell('ipam requests ended');
        yield create(PrefixResponseSchema, { prefix: 'bye' });
      },
    }),
  ];
}

async function onRequest(
  connection: Connection | undefined,
  context: CallContext,
  clock: Clock,
  probe: Probe,
): Promise<Connection> {
  const id = connection?.id ?? '';
  const runs = (probe.executions.get(id) ?? 0) + 1;
  probe.executions.set(id, runs);
  probe.tell(`began ${id}`);
  switch (connection?.networkService ?? '') {
    case 'fail':
      throw refusal;
    case 'throw':
      throw new TypeError('a bug');
    case 'hang':
      await untilAborted(context, probe, id);
      throw new NsmError('CANCELLED', 'gave up');
    case 'count':
      return create(ConnectionSchema, { id: String(runs) });
    case 'big':
      return create(ConnectionSchema, { id: 'x'.repeat(Number(id)) });
    case 'wrong':
      return create(EmptySchema) as unknown as Connection;
    case 'deadline':
      return create(ConnectionSchema, { id: String(context.deadlineMs - clock.nowMs()) });
    default:
      context.setHeader('x-answer', context.headers['x-ask'] ?? 'none');
      return connection ?? create(ConnectionSchema);
  }
}

async function* monitor(
  kind: string,
  count: number,
  context: CallContext,
  probe: Probe,
): AsyncGenerator<ConnectionEvent> {
  const payload = kind === 'flood' ? 'x'.repeat(4096) : '';
  const limit = kind === 'watch' ? 1 : kind === 'flood' ? Infinity : count;
  try {
    for (let number = 0; number < limit; number += 1) {
      probe.produced += 1;
      yield eventOf(number, payload);
    }
    if (kind === 'fail-after') throw refusal;
    if (kind === 'watch') await untilAborted(context, probe, 'watch');
  } finally {
    probe.tell(`ended ${kind}`);
  }
}

function eventOf(number: number, payload: string): ConnectionEvent {
  const id = `c${number}`;
  return create(ConnectionEventSchema, {
    connections: { [id]: create(ConnectionSchema, { id, payload }) },
  });
}

async function untilAborted(context: CallContext, probe: Probe, what: string): Promise<void> {
  if (!context.signal.aborted) {
    await new Promise((resolve) => context.signal.addEventListener('abort', resolve));
  }
  probe.tell(`aborted ${what}: ${(context.signal.reason as NsmError).code}`);
}
