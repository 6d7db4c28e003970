// The contract of protocols/ports/rpc.ts, the same for every binding: what a caller and a handler may rely on
// whichever way a call travels.

import { create, fromBinary, toBinary } from '@bufbuild/protobuf';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { NsmError } from '../../protocols/errors.ts';
import {
  ConnectionSchema,
  MonitorConnection,
  MonitorScopeSelectorSchema,
} from '../../protocols/nsm/gen/connection_pb.ts';
import { IPAM, PrefixRequestSchema, type PrefixRequest } from '../../protocols/nsm/gen/ipam_pb.ts';
import {
  NetworkService,
  NetworkServiceRequestSchema,
} from '../../protocols/nsm/gen/networkservice_pb.ts';
import type { Channel, Headers, Listening, UnaryOptions } from '../../protocols/ports/rpc.ts';
import { clock, type Binding, type OpenBinding } from './rpc-bindings.ts';
import { Probe, refusal, testServices } from './rpc-services.ts';

export function rpcContract(binding: Binding): void {
  describe(`RPC over ${binding.name}`, () => {
    let open: OpenBinding;
    let probe: Probe;
    let listening: Listening;
    let channel: Channel;
    let resourcesBefore: Record<string, number>;

    beforeEach(async () => {
      resourcesBefore = liveResources();
      open = await binding.open();
      probe = new Probe();
      listening = await open.listener.listen(open.url, testServices(clock, probe));
      channel = open.dialer.dial(listening.url);
    });

    afterEach(async () => {
      await listening.close(0);
      await open.close();
      await noLeak(resourcesBefore);
    });

    const ask = (
      networkService: string,
      id = 'c1',
      options: Partial<UnaryOptions> = {},
      to: Channel = channel,
    ) =>
      to
        .client(NetworkService)
        .request(create(NetworkServiceRequestSchema, { connection: { id, networkService } }), {
          timeoutMs: 10_000,
          ...options,
        });
    const watch = (kind: string, count = 0, signal?: AbortSignal, to: Channel = channel) =>
      to
        .client(MonitorConnection)
        .monitorConnections(
          create(MonitorScopeSelectorSchema, { networkServices: [kind, String(count)] }),
          signal === undefined ? {} : { signal },
        );

    describe('unary calls', () => {
      it('answers, and carries headers both ways', async () => {
        let answered: Headers = {};
        const token = `a.b-c_${'t'.repeat(8000)}`;
        const answer = await ask('echo', 'a/b @1', {
          headers: { 'x-ask': token, 'nsm-client-token': 't' },
          onHeaders: (headers) => {
            answered = headers;
          },
        });
        expect(answer.id).toBe('a/b @1');
        expect(answered).toEqual({ 'x-answer': token });
      });

      it('keeps fields that this version does not know', async () => {
        const unknown = [0xba, 0x3e, 3, 1, 2, 3];
        const known = toBinary(
          ConnectionSchema,
          create(ConnectionSchema, { id: 'c', networkService: 'echo' }),
        );
        const connection = fromBinary(ConnectionSchema, Uint8Array.from([...known, ...unknown]));
        const request = create(NetworkServiceRequestSchema);
        request.connection = connection;
        const answer = await channel.client(NetworkService).request(request, { timeoutMs: 10_000 });
        expect([...toBinary(ConnectionSchema, answer)].slice(-unknown.length)).toEqual(unknown);
      });

      it('brings a refusal back with all its details', async () => {
        const error = await failure(ask('fail'));
        expect(error.code).toBe(refusal.code);
        expect(error.message).toBe(refusal.message);
        expect(error.details).toEqual(refusal.details);
      });

      it('turns a bug of a handler into INTERNAL and goes on serving', async () => {
        expect((await failure(ask('throw'))).code).toBe('INTERNAL');
        expect((await failure(ask('wrong'))).code).toBe('INTERNAL');
        expect((await ask('echo')).id).toBe('c1');
      });

      it('ends at its deadline and aborts the handler', async () => {
        const error = await failure(ask('hang', 'c1', { timeoutMs: 200 }));
        expect(error.code).toBe('DEADLINE_EXCEEDED');
        await probe.seen('began c1');
        await waitForEvent(probe, /^aborted c1/);
      });

      it('tells the handler the remaining time', async () => {
        const leftMs = Number((await ask('deadline', 'c', { timeoutMs: 5000 })).id);
        expect(leftMs).toBeGreaterThan(0);
        expect(leftMs).toBeLessThanOrEqual(5000);
      });

      it('refuses a call without time or without a deadline', async () => {
        expect((await failure(ask('echo', 'c', { timeoutMs: 0 }))).code).toBe('DEADLINE_EXCEEDED');
        expect((await failure(ask('echo', 'c', { timeoutMs: Number.NaN }))).code).toBe(
          'INVALID_ARGUMENT',
        );
        expect(probe.events).toEqual([]);
      });

      it('is cancelled by its signal, which aborts the handler', async () => {
        const controller = new AbortController();
        const call = failure(ask('hang', 'c1', { signal: controller.signal }));
        await probe.seen('began c1');
        controller.abort();
        expect((await call).code).toBe('CANCELLED');
        await probe.seen('aborted c1: CANCELLED');
        expect((await failure(ask('echo', 'c2', { signal: controller.signal }))).code).toBe(
          'CANCELLED',
        );
        expect(probe.executions.has('c2')).toBe(false);
      });

      it('lets many calls hang on one signal, without a warning of a leak', async () => {
        const warnings: string[] = [];
        const onWarning = (warning: Error): void => void warnings.push(warning.name);
        process.on('warning', onWarning);
        const { signal } = new AbortController();
        await Promise.all(Array.from({ length: 50 }, (_, at) => ask('echo', `c${at}`, { signal })));
        process.off('warning', onWarning);
        expect(warnings).toEqual([]);
      });

      it("fails the call with what the caller's own function throws", async () => {
        const onHeaders = (): void => {
          throw new RangeError('mine');
        };
        await expect(ask('echo', 'c1', { onHeaders })).rejects.toThrow('mine');
        expect((await ask('echo')).id).toBe('c1');
      });

      it('answers UNAVAILABLE where nobody listens', async () => {
        const nobody = open.dialer.dial(open.emptyUrl);
        expect((await failure(ask('echo', 'c', {}, nobody))).code).toBe('UNAVAILABLE');
      });

      it('refuses headers that one of the bindings could not carry', async () => {
        for (const headers of [
          { 'X-Upper': 'a' },
          { 'vwire-call': 'a' },
          { 'x-a': 'a\r\nb: c' },
          { 'x-a': ' a' },
          { 'x-a': 'ü' },
          { '': 'a' },
        ]) {
          const error = await failure(ask('echo', 'c', { headers }));
          expect(error.code).toBe('INVALID_ARGUMENT');
        }
        const tooLarge = await failure(
          ask('echo', 'c', { headers: { 'x-a': 'a'.repeat(50_000) } }),
        );
        expect(tooLarge.code).toBe('RESOURCE_EXHAUSTED');
        expect((await ask('echo')).id).toBe('c1');
      });
    });

    describe('operations', () => {
      const operation = (id: string, epoch: number, incarnation = 7) => ({
        operation: { id, key: 'c/1 @dom', epoch, incarnation },
      });

      it('runs a repeated id once and answers it from the record', async () => {
        const first = ask('count', 'c1', operation('op 1', 1));
        const second = ask('count', 'c1', operation('op 1', 1));
        expect((await first).id).toBe('1');
        expect((await second).id).toBe('1');
        expect((await ask('count', 'c1', operation('op 1', 1))).id).toBe('1');
        expect((await ask('count', 'c1', operation('op 2', 2))).id).toBe('2');
        expect((await ask('count', 'c1')).id).toBe('3');
      });

      it('refuses an older epoch and an older incarnation', async () => {
        await ask('count', 'c1', operation('a', 5));
        const older = await failure(ask('count', 'c1', operation('b', 4)));
        expect(older.code).toBe('ABORTED');
        expect(older.details.rule).toBe('operation-epoch');
        expect((await failure(ask('count', 'c1', operation('c', 9, 6)))).code).toBe('ABORTED');
        expect((await ask('count', 'c1', operation('d', 1, 8))).id).toBe('2');
      });

      it('runs an id again whose first caller gave up', async () => {
        const controller = new AbortController();
        const options = { ...operation('a', 1), signal: controller.signal };
        const call = failure(ask('hang', 'c1', options));
        await probe.seen('began c1');
        controller.abort();
        expect((await call).code).toBe('CANCELLED');
        await probe.seen('aborted c1: CANCELLED');
        expect((await ask('count', 'c2', operation('a', 1))).id).toBe('1');
      });
    });

    describe('server streams', () => {
      it('delivers every message in order, then ends', async () => {
        const ids: string[] = [];
        for await (const event of watch('numbers', 1000))
          ids.push(...Object.keys(event.connections));
        expect(ids).toEqual(Array.from({ length: 1000 }, (_, number) => `c${number}`));
      });

      it('ends at once where there is nothing', async () => {
        expect(await watch('numbers', 0)[Symbol.asyncIterator]().next()).toMatchObject({
          done: true,
        });
      });

      it('delivers what came before a refusal, then the refusal with its details', async () => {
        const ids: string[] = [];
        const error = await failure(
          (async () => {
            for await (const event of watch('fail-after', 3)) {
              ids.push(...Object.keys(event.connections));
            }
          })(),
        );
        expect(ids).toEqual(['c0', 'c1', 'c2']);
        expect(error.code).toBe(refusal.code);
        expect(error.details).toEqual(refusal.details);
      });

      it('is cancelled by its signal, which aborts the handler', async () => {
        const controller = new AbortController();
        const stream = watch('watch', 0, controller.signal)[Symbol.asyncIterator]();
        expect((await stream.next()).done).toBe(false);
        const next = failure(stream.next());
        controller.abort();
        expect((await next).code).toBe('CANCELLED');
        await waitForEvent(probe, /^aborted watch/);
      });

      it('aborts the handler when its consumer leaves', async () => {
        for await (const event of watch('watch')) {
          expect(Object.keys(event.connections)).toEqual(['c0']);
          break;
        }
        await waitForEvent(probe, /^aborted watch/);
      });

      it('holds a fast handler back for a slow consumer and loses nothing', async () => {
        const stream = watch('flood')[Symbol.asyncIterator]();
        let taken = 0;
        const take = async (count: number): Promise<void> => {
          for (; taken < count; taken += 1) {
            const { value } = await stream.next();
            expect(Object.keys(value.connections)).toEqual([`c${taken}`]);
          }
        };
        await take(10);
        // The handler has all these round trips to run ahead in.
        for (let call = 0; call < 200; call += 1) await ask('echo');
        expect(probe.produced).toBeLessThan(1000);
        await take(3000);
        await stream.return?.();
        await probe.seen('ended flood');
      });

      it('ends with UNAVAILABLE when the peer stops serving', async () => {
        const stream = watch('watch')[Symbol.asyncIterator]();
        await stream.next();
        const next = failure(stream.next());
        // A watch has no end of its own: waiting for one would hold every shutdown up for the whole grace.
        await listening.close(600_000);
        expect((await next).code).toBe('UNAVAILABLE');
        await waitForEvent(probe, /^aborted watch/);
        expect((await failure(ask('echo'))).code).toBe('UNAVAILABLE');
      });
    });

    describe('bidirectional streams', () => {
      async function* prefixes(count: number): AsyncGenerator<PrefixRequest> {
        for (let number = 0; number < count; number += 1) {
          yield create(PrefixRequestSchema, { prefix: `10.0.${number}.0/24` });
        }
      }

      it('answers each request, and lets the handler see the end of them', async () => {
        const answers: string[] = [];
        for await (const answer of channel.client(IPAM).managePrefixes(prefixes(300))) {
          answers.push(answer.prefix);
        }
        expect(answers).toHaveLength(301);
        expect(answers.slice(-2)).toEqual(['10.0.299.0/24', 'bye']);
      });

      it('ends the requests when the caller cancels', async () => {
        const controller = new AbortController();
        let left = false;
        const requests: AsyncIterable<PrefixRequest> = {
          async *[Symbol.asyncIterator]() {
            try {
              yield create(PrefixRequestSchema, { prefix: 'a' });
              await new Promise((resolve) =>
                controller.signal.addEventListener('abort', resolve, { once: true }),
              );
            } finally {
              left = true;
              probe.tell('requests left');
            }
          },
        };
        const stream = channel
          .client(IPAM)
          .managePrefixes(requests, { signal: controller.signal })
          [Symbol.asyncIterator]();
        expect((await stream.next()).value.prefix).toBe('a');
        const next = failure(stream.next());
        controller.abort();
        expect((await next).code).toBe('CANCELLED');
        await probe.seen('requests left');
        await probe.seen('ipam aborted');
        expect(left).toBe(true);
      });
    });

    it('answers UNIMPLEMENTED for what is not served', async () => {
      await listening.close(0);
      const [, monitoring] = testServices(clock, probe);
      listening = await open.listener.listen(
        open.url,
        monitoring === undefined ? [] : [monitoring],
      );
      channel = open.dialer.dial(listening.url);
      expect((await failure(ask('echo'))).code).toBe('UNIMPLEMENTED');
      const stream = channel.client(IPAM).managePrefixes(nothing())[Symbol.asyncIterator]();
      expect((await failure(stream.next())).code).toBe('UNIMPLEMENTED');
      const events: number[] = [];
      for await (const event of watch('numbers', 2)) {
        events.push(Object.keys(event.connections).length);
      }
      expect(events).toEqual([1, 1]);
    });

    it('lets calls in flight end within the grace', async () => {
      const controller = new AbortController();
      const call = failure(ask('hang', 'c1', { signal: controller.signal }));
      await probe.seen('began c1');
      const closed = listening.close(10_000);
      controller.abort();
      expect((await call).code).toBe('CANCELLED');
      await closed;
    });

    // Messages handed over within a process have no size, and there is no process to kill.
    if (binding.messageBytesMax === undefined) return;

    it('names size and limit of a message that is too large, in both directions', async () => {
      const size = (binding.messageBytesMax ?? 0) + 1;
      for (const call of [ask('echo', 'x'.repeat(size)), ask('big', String(size))]) {
        const error = await failure(call);
        expect(error.code).toBe('RESOURCE_EXHAUSTED');
        expect(error.details.expected).toContain(String(binding.messageBytesMax));
        expect(Number.parseInt(error.details.found ?? '', 10)).toBeGreaterThanOrEqual(size);
      }
      expect((await ask('echo')).id).toBe('c1');
    });

    it('ends calls and streams with UNAVAILABLE when the peer is killed', async () => {
      const peer = await open.startPeer?.();
      if (peer === undefined) throw new Error('no peer process');
      const other = open.dialer.dial(peer.url);
      expect((await ask('echo', 'c1', {}, other)).id).toBe('c1');
      const stream = watch('watch', 0, undefined, other)[Symbol.asyncIterator]();
      await stream.next();
      const next = failure(stream.next());
      await peer.kill();
      expect((await next).code).toBe('UNAVAILABLE');
      expect((await failure(ask('echo', 'c1', {}, other))).code).toBe('UNAVAILABLE');
    });
  });
}

async function* nothing(): AsyncGenerator<PrefixRequest> {}

/** The NsmError that a call fails with; anything else fails the test. */
export async function failure(call: Promise<unknown>): Promise<NsmError> {
  const outcome = await call.then(
    (value) => new Error(`did not fail but gave ${String(value)}`),
    (error: unknown) => error,
  );
  if (outcome instanceof NsmError) return outcome;
  throw outcome;
}

export async function waitForEvent(probe: Probe, pattern: RegExp): Promise<void> {
  const endsAt = Date.now() + 5000;
  while (!probe.events.some((event) => pattern.test(event))) {
    if (Date.now() > endsAt) {
      throw new Error(`never saw ${pattern}, only ${JSON.stringify(probe.events)}`);
    }
    await new Promise((resolve) => setImmediate(resolve));
  }
}

export function liveResources(): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const name of process.getActiveResourcesInfo()) counts[name] = (counts[name] ?? 0) + 1;
  return counts;
}

/** Sockets, pipes, child processes and timers must be as before; closing takes a few turns of the loop. */
export async function noLeak(before: Record<string, number>): Promise<void> {
  const kinds = [
    'TCPSocketWrap',
    'TCPServerWrap',
    'PipeWrap',
    'PipeServerWrap',
    'ProcessWrap',
    'Timeout',
  ];
  const endsAt = Date.now() + 5000;
  for (;;) {
    const now = liveResources();
    const leaked = kinds.filter((kind) => (now[kind] ?? 0) > (before[kind] ?? 0));
    if (leaked.length === 0) return;
    if (Date.now() > endsAt) {
      throw new Error(
        `leaked: ${leaked.map((kind) => `${kind} ${before[kind] ?? 0} -> ${now[kind]}`).join(', ')}`,
      );
    }
    await new Promise((resolve) => setImmediate(resolve));
  }
}
