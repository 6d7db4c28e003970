// Protects the account of who asks for more than a component on the bus has room for: the call is refused, and whoever keeps
// the audit log is told who it was.

import { create } from '@bufbuild/protobuf';
import { EmptySchema } from '@bufbuild/protobuf/wkt';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { ConnectionSchema } from '../../../protocols/nsm/gen/connection_pb.ts';
import {
  NetworkService,
  NetworkServiceRequestSchema,
} from '../../../protocols/nsm/gen/networkservice_pb.ts';
import { silentLog } from '../../../protocols/ports/log.ts';
import type { Refusal } from '../../../protocols/ports/refusal.ts';
import { serve } from '../../../protocols/ports/rpc.ts';
import { BusSeals } from '../../../transports/nats/bus-seals.ts';
import { createNatsDialer } from '../../../transports/nats/nats-dialer.ts';
import { createNatsListener } from '../../../transports/nats/nats-listener.ts';
import { startNatsServer, type NatsServer } from '../../../transports/nats/nats-server.ts';
import { systemWallClock } from '../../../transports/process/system-clock.ts';
import { failure, liveResources, noLeak } from '../../contract/rpc.ts';
import { beatMs, openBus } from '../../contract/rpc-bindings.ts';
import { TestIdentities } from '../../sandbox/identities.ts';

const url = 'nats://dom/node/callee';

let server: NatsServer;
let identities: TestIdentities;
let before: Record<string, number>;
const cleanUps: (() => Promise<unknown>)[] = [];

beforeEach(async () => {
  before = liveResources();
  server = await startNatsServer();
  identities = new TestIdentities();
});

afterEach(async () => {
  for (const cleanUp of cleanUps.splice(0).reverse()) await cleanUp();
  await identities.close();
  await server.stop();
  await noLeak(before);
});

async function busAs(name: string) {
  const bus = await openBus(server.url, name, silentLog);
  const identity = await identities.source(name);
  const seals = new BusSeals({ identity, wallClock: systemWallClock, log: silentLog });
  cleanUps.push(async () => {
    await bus.close();
    seals.close();
  });
  return { bus, seals };
}

it('refuses a call beyond its bound, and tells whose it was', async () => {
  const refusals: Refusal[] = [];
  let answer = (): void => {};
  let begun = (): void => {};
  const taken = new Promise<void>((resolve) => {
    begun = resolve;
  });
  const callee = await busAs('callee');
  const onRefused = (refusal: Refusal): void => void refusals.push(refusal);
  const options = { beatMs, seals: callee.seals, callsMax: 1, onRefused };
  const listening = await createNatsListener(callee.bus, options).listen(url, [
    serve(NetworkService, {
      request: () =>
        new Promise((resolve) => {
          answer = () => resolve(create(ConnectionSchema));
          begun();
        }),
      close: () => Promise.resolve(create(EmptySchema)),
    }),
  ]);
  cleanUps.push(() => listening.close(0));
  const { bus, seals } = await busAs('caller');
  const dialer = createNatsDialer(bus, { beatMs, seals });
  cleanUps.push(() => dialer.close());
  const ask = () =>
    dialer
      .dial(url)
      .client(NetworkService)
      .request(create(NetworkServiceRequestSchema), { timeoutMs: 10_000 });
  const first = ask();
  await taken;
  expect((await failure(ask())).details.rule).toBe('calls-in-flight');
  answer();
  await first;
  expect(refusals).toMatchObject([
    {
      operation: 'Request',
      peer: 'spiffe://home.test/caller',
      error: { code: 'RESOURCE_EXHAUSTED', details: { rule: 'calls-in-flight' } },
    },
  ]);
});
