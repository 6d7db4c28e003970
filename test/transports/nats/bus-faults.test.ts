// Protects what is promised when the bus itself fails: a call delivered late is never executed, losing the bus ends
// what was under way and nothing more, and a bus that comes back is used without anybody's help. A real nats-server
// is stopped (SIGSTOP), continued, killed and started again on its port.

import { once } from 'node:events';
import { readdirSync, readFileSync } from 'node:fs';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';
import { create } from '@bufbuild/protobuf';
import { EmptySchema } from '@bufbuild/protobuf/wkt';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import {
  ConnectionSchema,
  MonitorConnection,
  MonitorScopeSelectorSchema,
} from '../../../protocols/nsm/gen/connection_pb.ts';
import {
  NetworkService,
  NetworkServiceRequestSchema,
} from '../../../protocols/nsm/gen/networkservice_pb.ts';
import { serve, type Dialer } from '../../../protocols/ports/rpc.ts';
import { silentLog } from '../../../protocols/ports/log.ts';
import { connectNats, type NatsBus } from '../../../transports/nats/nats-bus.ts';
import { createNatsDialer } from '../../../transports/nats/nats-dialer.ts';
import { createNatsListener } from '../../../transports/nats/nats-listener.ts';
import { startNatsServer, type NatsServer } from '../../../transports/nats/nats-server.ts';
import { failure } from '../../contract/rpc.ts';
import { beatMs, clock, openBus } from '../../contract/rpc-bindings.ts';
import { Probe, testServices } from '../../contract/rpc-services.ts';

const url = 'nats://dom/node/component';

describe('the bus fails', () => {
  let server: NatsServer;
  let near: NatsBus;
  let far: NatsBus;
  let dialer: Dialer;
  let probe: Probe;

  beforeEach(async () => {
    server = await startNatsServer();
    [near, far] = await Promise.all([openBus(server.url, 'near'), openBus(server.url, 'far')]);
    dialer = createNatsDialer(near, { beatMs });
    probe = new Probe();
    await createNatsListener(far, { beatMs }).listen(url, testServices(clock, probe));
  });

  afterEach(async () => {
    await dialer.close();
    await Promise.all([near.close(), far.close()]);
    await server.stop();
  });

  const count = (id: string, timeoutMs = 10_000, by = dialer) =>
    by
      .dial(url)
      .client(NetworkService)
      .request(
        create(NetworkServiceRequestSchema, { connection: { id, networkService: 'count' } }),
        { timeoutMs },
      );
  const watch = () =>
    dialer
      .dial(url)
      .client(MonitorConnection)
      .monitorConnections(create(MonitorScopeSelectorSchema, { networkServices: ['watch'] }))
      [Symbol.asyncIterator]();

  it('is reached by another try where one gets no answer', async () => {
    const tries: Socket[] = [];
    // What answers nothing at first is what a network that is cut looks like.
    const gate = createServer((socket) => {
      tries.push(socket);
      if (tries.length === 1) return;
      const onward = connect(server.port, '127.0.0.1');
      socket.pipe(onward).pipe(socket);
    }).listen(0, '127.0.0.1');
    await once(gate, 'listening');
    const { port } = gate.address() as AddressInfo;
    const bus = await connectNats({
      url: `nats://127.0.0.1:${port}`,
      name: 'patient',
      clock,
      log: silentLog,
      connection: { timeout: 500 },
    });
    expect(bus.status).toBe('connected');
    expect(tries.length).toBeGreaterThan(1);
    await bus.close();
    const closed = once(gate, 'close');
    gate.close();
    for (const socket of tries) socket.destroy();
    await closed;
  });

  it('does not execute a call that was delivered after its caller gave up', async () => {
    await count('warm');
    await freeze(server.pid);
    const error = await failure(count('late', 300));
    expect(error.code).toBe('DEADLINE_EXCEEDED');
    process.kill(server.pid, 'SIGCONT');
    // Follows the late one on the same connection, so that has been delivered when this is answered.
    expect((await count('after')).id).toBe('1');
    expect(probe.executions.get('late')).toBeUndefined();
  });

  it('does not execute a late first call either, of a caller that knows no clock of the callee', async () => {
    await freeze(server.pid);
    expect((await failure(count('late', 300))).code).toBe('DEADLINE_EXCEEDED');
    process.kill(server.pid, 'SIGCONT');
    expect((await count('after')).id).toBe('1');
    expect(probe.executions.get('late')).toBeUndefined();
  });

  it('executes a call that was delivered late but in time', async () => {
    await count('warm');
    await freeze(server.pid);
    const call = count('slow');
    expect((await failure(count('late', 300))).code).toBe('DEADLINE_EXCEEDED');
    process.kill(server.pid, 'SIGCONT');
    expect((await call).id).toBe('1');
  });

  it('ends what is under way with UNAVAILABLE, waits for the bus, and goes on by itself', async () => {
    await count('warm');
    const stream = watch();
    await stream.next();
    const next = failure(stream.next());
    const lost = new Promise((resolve) => near.onStatus(resolve));
    process.kill(server.pid, 'SIGKILL');
    await server.ended;
    expect((await next).code).toBe('UNAVAILABLE');
    expect(await lost).toBe('disconnected');
    await probe.seen('ended watch');

    const waiting = count('waits');
    const inVain = await failure(count('in vain', 100));
    expect(inVain.code).toBe('UNAVAILABLE');
    expect(inVain.details.rule).toBe('bus');

    server = await startNatsServer({ port: server.port });
    expect((await waiting).id).toBe('1');
    expect(probe.executions.get('in vain')).toBeUndefined();
    const again = watch();
    expect((await again.next()).done).toBe(false);
    await again.return?.();
  });

  it('ends a stream whose peer fell silent', async () => {
    const stream = watch();
    await stream.next();
    // The callee's process is alive and subscribed, but it sends nothing: its listener has gone deaf.
    const next = failure(stream.next());
    const silent = far.publish.bind(far);
    far.publish = () => true;
    const error = await next;
    far.publish = silent;
    expect(error.code).toBe('UNAVAILABLE');
    expect(error.details.rule).toBe('stream-beat');
  });

  it('ends a stream with a gap when a message was lost', async () => {
    const publish = far.publish.bind(far);
    let sent = 0;
    far.publish = (subject, message) => {
      if (message.headers['vwire-frame']?.startsWith('data 3 ') === true) {
        sent += 1;
        return true;
      }
      return publish(subject, message);
    };
    const error = await failure(
      (async () => {
        const selector = create(MonitorScopeSelectorSchema, { networkServices: ['numbers', '5'] });
        const events = dialer.dial(url).client(MonitorConnection).monitorConnections(selector);
        for await (const event of events) expect(event.connections).toBeDefined();
      })(),
    );
    expect(sent).toBe(1);
    expect(error.code).toBe('UNAVAILABLE');
    expect(error.details.rule).toBe('stream-gap');
  });

  it('sends a call again for the clock of a callee that was started anew', async () => {
    await count('warm');
    const other = new Probe();
    await far.close();
    far = await openBus(server.url, 'far again');
    const listener = createNatsListener(far, { beatMs });
    await listener.listen(url, testServices(clock, other));
    expect((await count('again')).id).toBe('1');
    expect(other.executions.get('again')).toBe(1);
  });

  it('lets no second process serve the same component', async () => {
    const second = createNatsListener(near, { beatMs });
    const error = await failure(second.listen(url, testServices(clock, probe)));
    expect(error.code).toBe('ALREADY_EXISTS');
    expect((await count('c')).id).toBe('1');
  });

  it('answers an operation from its record when the bus was lost while it ran', async () => {
    let finish = (): void => {};
    let runs = 0;
    const service = serve(NetworkService, {
      request: async () => {
        runs += 1;
        probe.tell(`run ${runs}`);
        await new Promise<void>((resolve) => {
          finish = resolve;
        });
        return create(ConnectionSchema, { id: `run ${runs}` });
      },
      close: () => Promise.resolve(create(EmptySchema)),
    });
    const slow = 'nats://dom/node/slow';
    await createNatsListener(far, { beatMs }).listen(slow, [service]);
    const request = create(NetworkServiceRequestSchema);
    const operation = { id: 'op', key: 'k', epoch: 1, incarnation: 1 };
    const call = () =>
      dialer.dial(slow).client(NetworkService).request(request, { timeoutMs: 10_000, operation });
    const first = failure(call());
    await probe.seen('run 1');
    process.kill(server.pid, 'SIGKILL');
    expect((await first).code).toBe('UNAVAILABLE');
    await server.ended;
    server = await startNatsServer({ port: server.port });
    const second = call();
    finish();
    expect((await second).id).toBe('run 1');
    expect(runs).toBe(1);
  });

  it('bounds the calls under way', async () => {
    const bounded = createNatsDialer(near, { beatMs, callsMax: 2 });
    const controller = new AbortController();
    const hang = (id: string) =>
      failure(
        bounded
          .dial(url)
          .client(NetworkService)
          .request(
            create(NetworkServiceRequestSchema, { connection: { id, networkService: 'hang' } }),
            { timeoutMs: 10_000, signal: controller.signal },
          ),
      );
    const calls = [hang('a'), hang('b')];
    await Promise.all([probe.seen('began a'), probe.seen('began b')]);
    expect((await failure(count('c', 1000, bounded))).code).toBe('RESOURCE_EXHAUSTED');
    controller.abort();
    expect((await Promise.all(calls)).map((error) => error.code)).toEqual([
      'CANCELLED',
      'CANCELLED',
    ]);
    expect((await count('c', 10_000, bounded)).id).toBe('1');
    await bounded.close();
  });
});

/** Stops a process and waits until none of its threads runs: the signal alone only asks for it. */
async function freeze(pid: number): Promise<void> {
  process.kill(pid, 'SIGSTOP');
  const isStopped = (thread: string): boolean =>
    readFileSync(`/proc/${pid}/task/${thread}/stat`, 'utf8').split(') ')[1]?.[0] === 'T';
  const endsAt = Date.now() + 5000;
  while (!readdirSync(`/proc/${pid}/task`).every(isStopped)) {
    if (Date.now() > endsAt) throw new Error(`process ${pid} does not stop`);
    await new Promise((resolve) => setImmediate(resolve));
  }
}
