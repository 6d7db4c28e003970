// Protects what the simulation relies on: a fault of the simulated network is seen as the real one would be. What is
// lost ends by deadline, what is late is dropped, what comes twice is executed once, a killed process is silent, and a
// stream across a cut link ends on both sides.

import { create } from '@bufbuild/protobuf';
import { EmptySchema } from '@bufbuild/protobuf/wkt';
import { beforeEach, describe, expect, it } from 'vitest';
import { asNsmError } from '../../../protocols/errors.ts';
import {
  ConnectionEventSchema,
  ConnectionSchema,
  MonitorConnection,
  MonitorScopeSelectorSchema,
} from '../../../protocols/nsm/gen/connection_pb.ts';
import {
  NetworkService,
  NetworkServiceRequestSchema,
} from '../../../protocols/nsm/gen/networkservice_pb.ts';
import { serve } from '../../../protocols/ports/rpc.ts';
import {
  type Attached,
  createSimulatedNetwork,
  type SimulatedNetwork,
} from '../../../transports/memory/simulated-network.ts';
import { randomOf } from '../../sandbox/seeded-random.ts';
import { VirtualTime } from '../../sandbox/virtual-time.ts';

const url = 'memory:far';
let time: VirtualTime;
let network: SimulatedNetwork;
let near: Attached;
let far: Attached;
let executed: number;
/** The handler never answers. */
let hangs: boolean;
let watchesEnded: number;
/** Delays of the copies of each message, by its direction. */
let ways: Record<'there' | 'back', readonly number[]>;
let cutSinceMs: number | undefined;

beforeEach(async () => {
  time = new VirtualTime();
  [executed, watchesEnded, cutSinceMs] = [0, 0, undefined];
  hangs = false;
  ways = { there: [1], back: [1] };
  network = createSimulatedNetwork({
    clock: time,
    random: randomOf(1, 'network'),
    links: {
      carry: (from) => (cutSinceMs === undefined ? ways[from === 'near' ? 'there' : 'back'] : []),
      cutSinceMs: () => cutSinceMs,
    },
  });
  near = network.attach({ name: 'near', place: 'near', clock: time });
  far = network.attach({ name: 'far', place: 'far', clock: time });
  await far.listener.listen(url, [
    serve(NetworkService, {
      request: async () => {
        executed += 1;
        if (hangs) await new Promise(() => {});
        return create(ConnectionSchema, { id: 'c' });
      },
      close: async () => create(EmptySchema),
    }),
    serve(MonitorConnection, {
      async *monitorConnections(_, { signal }) {
        yield create(ConnectionEventSchema);
        await new Promise((resolve) => signal.addEventListener('abort', resolve));
        watchesEnded += 1;
      },
    }),
  ]);
});

function ask(): Promise<string> {
  const operation = { id: 'o', key: 'k', epoch: 1, incarnation: 1 };
  const request = create(NetworkServiceRequestSchema);
  const client = near.dialer.dial(url).client(NetworkService);
  return client.request(request, { timeoutMs: 100, operation }).then(
    ({ id }) => id,
    (error: unknown) => asNsmError(error).code,
  );
}

describe('a call', () => {
  const outcome = async (): Promise<string> => {
    const asked = ask();
    await time.advanceTo(time.nowMs() + 1_000);
    return asked;
  };

  it('is answered', async () => {
    expect([await outcome(), executed]).toEqual(['c', 1]);
  });

  it('ends by its deadline where the question is lost', async () => {
    ways.there = [];
    expect([await outcome(), executed]).toEqual(['DEADLINE_EXCEEDED', 0]);
  });

  it('ends by its deadline where the answer is lost, though it was executed', async () => {
    ways.back = [];
    expect([await outcome(), executed]).toEqual(['DEADLINE_EXCEEDED', 1]);
  });

  it('is dropped by its callee when it comes late', async () => {
    ways.there = [150];
    expect([await outcome(), executed]).toEqual(['DEADLINE_EXCEEDED', 0]);
  });

  it('is executed once when it comes twice, also after its answer', async () => {
    ways.there = [1, 50];
    expect([await outcome(), executed]).toEqual(['c', 1]);
  });

  it.each([
    ['reset', 'UNAVAILABLE'],
    ['silent', 'DEADLINE_EXCEEDED'],
  ] as const)('ends where its callee is killed, with %s connections', async (ending, code) => {
    hangs = true;
    const asked = ask();
    await time.advanceTo(1.5);
    far.kill(ending);
    await time.advanceTo(1_000);
    expect([await asked, executed]).toEqual([code, 1]);
  });

  it('finds nobody once its callee is killed', async () => {
    far.kill('silent');
    expect([await outcome(), executed]).toEqual(['UNAVAILABLE', 0]);
  });

  it('leaves nothing behind', async () => {
    await outcome();
    expect([network.flights, time.pendingTimers]).toEqual([0, 0]);
  });
});

describe('a stream', () => {
  it('ends on both sides once a cut link has been silent for too long', async () => {
    const client = near.dialer.dial(url).client(MonitorConnection);
    const events = client
      .monitorConnections(create(MonitorScopeSelectorSchema))
      [Symbol.asyncIterator]();
    const first = events.next();
    await time.advanceTo(100);
    expect((await first).done).toBe(false);
    const second = events.next().then(undefined, (error: unknown) => asNsmError(error).code);
    cutSinceMs = time.nowMs();
    network.linksChanged();
    await time.advanceTo(2_900);
    expect(watchesEnded).toBe(0);
    await time.advanceTo(10_000);
    expect(await second).toBe('UNAVAILABLE');
    expect([watchesEnded, network.flights, time.pendingTimers]).toEqual([1, 0, 0]);
  });
});
