// Protects what is special about calls inside a process: a message is handed over and not copied, a handler never
// runs inside its caller's turn, time is the clock's, and a URL belongs to one listener.

import { create } from '@bufbuild/protobuf';
import { EmptySchema } from '@bufbuild/protobuf/wkt';
import { describe, expect, it } from 'vitest';
import { ConnectionSchema } from '../../../protocols/nsm/gen/connection_pb.ts';
import {
  NetworkService,
  NetworkServiceRequestSchema,
} from '../../../protocols/nsm/gen/networkservice_pb.ts';
import { serve } from '../../../protocols/ports/rpc.ts';
import { createMemoryNetwork } from '../../../transports/memory/memory-network.ts';
import { failure } from '../../contract/rpc.ts';
import { createManualClock } from '../../sandbox/manual-clock.ts';

const request = create(NetworkServiceRequestSchema, { connection: { id: 'c' } });
const answer = create(ConnectionSchema, { id: 'answer' });

describe('memory network', () => {
  it('hands messages over without copying, in a later turn', async () => {
    const { dialer, listener } = createMemoryNetwork({ clock: createManualClock() });
    const seen: unknown[] = [];
    const service = serve(NetworkService, {
      request: (message) => {
        seen.push(message);
        return Promise.resolve(answer);
      },
      close: () => Promise.resolve(create(EmptySchema)),
    });
    await listener.listen('memory:a', [service]);
    const call = dialer.dial('memory:a').client(NetworkService).request(request, { timeoutMs: 1 });
    expect(seen).toEqual([]);
    expect(await call).toBe(answer);
    expect(seen[0]).toBe(request);
  });

  it('runs on its clock alone, leaves no timer behind, and bounds the calls in flight', async () => {
    const clock = createManualClock();
    const { dialer, listener } = createMemoryNetwork({ clock, callsMax: 1 });
    const service = serve(NetworkService, {
      request: () => new Promise(() => {}),
      close: () => Promise.resolve(create(EmptySchema)),
    });
    const listening = await listener.listen('memory:a', [service]);
    const client = dialer.dial('memory:a').client(NetworkService);
    const call = failure(client.request(request, { timeoutMs: 60_000 }));
    const refused = await failure(client.request(request, { timeoutMs: 1 }));
    expect(refused.code).toBe('RESOURCE_EXHAUSTED');
    await clock.advance(60_000);
    expect((await call).code).toBe('DEADLINE_EXCEEDED');
    await listening.close(0);
    expect(clock.pendingTimers).toBe(0);
  });

  it('gives a URL to one listener at a time, and refuses what is no URL of its own', async () => {
    const { dialer, listener } = createMemoryNetwork({ clock: createManualClock() });
    const first = await listener.listen('memory:a', []);
    expect((await failure(listener.listen('memory:a', []))).code).toBe('ALREADY_EXISTS');
    await first.close(0);
    await (await listener.listen('memory:a', [])).close(0);
    expect(() => dialer.dial('memory:')).toThrow(/inside the process/);
    expect((await failure(listener.listen('tcp://a:1', []))).code).toBe('INVALID_ARGUMENT');
  });
});
