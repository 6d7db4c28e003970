// Protects location transparency: the actor contract holds for references between two systems on a real nats-server,
// and a node that goes away is noticed.

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createActorSystem } from '../../actors/runtime/actor-system.ts';
import type { ActorSystem, DeadLetter, ReplyTo } from '../../actors/runtime/api.ts';
import { anyIncarnation } from '../../protocols/ports/actor-link.ts';
import { silentLog } from '../../protocols/ports/log.ts';
import { createNatsActorLink } from '../../transports/nats/actor-link.ts';
import { connectNats, type NatsBus } from '../../transports/nats/nats-bus.ts';
import { type NatsServer, startNatsServer } from '../../transports/nats/nats-server.ts';
import { systemClock } from '../../transports/process/system-clock.ts';
import { systemRandom } from '../../transports/process/system-random.ts';
import { actorRuntimeContract, watchFrom } from './actor-runtime.ts';
import { type Probe, probeBehavior, probeCodec } from './actor-runtime-probe.ts';

let server: NatsServer;

beforeAll(async () => {
  server = await startNatsServer();
});

afterAll(async () => {
  await server.stop();
});

interface Node {
  readonly system: ActorSystem;
  readonly bus: NatsBus;
  readonly letters: DeadLetter[];
  end(): Promise<void>;
}

async function startNode(name: string, unreachableAfterMs = 5_000): Promise<Node> {
  const bus = await connectNats({ url: server.url, name, clock: systemClock, log: silentLog });
  const letters: DeadLetter[] = [];
  const system = createActorSystem({
    name,
    clock: systemClock,
    random: systemRandom,
    log: silentLog,
    link: createNatsActorLink({ bus, domain: 'test.domain' }),
    unreachableAfterMs,
    onDeadLetter: (letter) => letters.push(letter),
  });
  await system.linked;
  return {
    system,
    bus,
    letters,
    end: async () => {
      await system.stop(5_000);
      expect(system.actorCount).toBe(0);
      await bus.close();
    },
  };
}

const get = (replyTo: ReplyTo<readonly number[]>): Probe => ({ type: 'get', replyTo });

let pairs = 0;

actorRuntimeContract('two systems over NATS', async () => {
  pairs += 1;
  const near = await startNode(`near-${pairs}/nsmgr`);
  const far = await startNode(`far-${pairs}/forwarder`);
  return {
    near: near.system,
    far: far.system,
    farLetters: far.letters,
    see: (ref) => {
      far.system.exportActor(ref, probeCodec);
      return near.system.refOf(ref.address, probeCodec);
    },
    end: async () => {
      await near.end();
      await far.end();
    },
  };
});

describe('actors over NATS', () => {
  const hold = { release: () => {}, late: [] };

  it('says at once that no such node is there', async () => {
    const near = await startNode('near-lost/nsmgr');
    const nowhere = near.system.refOf(
      { node: 'nowhere/nsmgr', path: ['probe'], incarnation: anyIncarnation },
      probeCodec,
    );
    const asked = near.system.ask(nowhere, get, {
      timeoutMs: 60_000,
    });
    await expect(asked).rejects.toMatchObject({ code: 'UNAVAILABLE' });
    nowhere.tell({ type: 'stop' });
    // The server's word comes back when it does, behind what the bus gathers in a turn.
    await expect.poll(() => near.letters).toMatchObject([{ reason: 'unreachable' }]);
    await near.end();
  });

  it('reaches only exported actors', async () => {
    const near = await startNode('near-hidden/nsmgr');
    const far = await startNode('far-hidden/nsmgr');
    const hidden = far.system.spawn(probeBehavior(hold), 'hidden');
    const seen = near.system.refOf(hidden.address, probeCodec);
    const asked = near.system.ask(seen, get, {
      timeoutMs: 5_000,
    });
    await expect(asked).rejects.toMatchObject({ code: 'UNAVAILABLE' });
    const events = watchFrom(near.system);
    events.watch(seen);
    expect(await events.next()).toMatchObject({ reason: 'stopped' });
    await near.end();
    await far.end();
  });

  it('tells a watcher that the node became unreachable', async () => {
    const near = await startNode('near-gone/nsmgr', 200);
    const far = await startNode('far-gone/nsmgr');
    const probe = far.system.spawn(probeBehavior(hold), 'probe');
    far.system.exportActor(probe, probeCodec);
    const seen = near.system.refOf(probe.address, probeCodec);
    const events = watchFrom(near.system);
    events.watch(seen);
    await near.system.ask(seen, get, { timeoutMs: 5_000 });
    await far.bus.close();
    expect(await events.next()).toEqual({ address: probe.address, reason: 'unreachable' });
    await far.system.stop(5_000);
    await near.end();
  });

  it('talks to another process, and hears of its end by SIGKILL', async () => {
    const near = await startNode('near-process/nsmgr', 400);
    const peer = fileURLToPath(new URL('actor-runtime-peer.ts', import.meta.url));
    const node = 'far-process/forwarder';
    const child = spawn(process.execPath, ['--import', 'tsx', peer, server.url, node], {
      stdio: ['pipe', 'pipe', 'inherit'],
    });
    try {
      const [line] = (await once(createInterface({ input: child.stdout }), 'line')) as [string];
      const seen = near.system.refOf({ node, path: ['probe'], incarnation: line }, probeCodec);
      const events = watchFrom(near.system);
      events.watch(seen);
      for (let n = 0; n < 10; n += 1) seen.tell({ type: 'add', n });
      expect(await near.system.ask(seen, get, { timeoutMs: 5_000 })).toHaveLength(10);
      child.kill('SIGKILL');
      expect(await events.next()).toEqual({ address: seen.address, reason: 'unreachable' });
      await expect(near.system.ask(seen, get, { timeoutMs: 5_000 })).rejects.toMatchObject({
        code: 'UNAVAILABLE',
      });
    } finally {
      child.kill('SIGKILL');
      await near.end();
    }
  });

  it('repairs a watch that the other node does not know, and calls an earlier life crashed', async () => {
    const near = await startNode('near-again/nsmgr', 200);
    const first = await startNode('far-again/nsmgr');
    const probe = first.system.spawn(probeBehavior(hold), 'probe');
    first.system.exportActor(probe, probeCodec);
    const events = watchFrom(near.system);
    const seen = near.system.refOf(probe.address, probeCodec);
    events.watch(seen);
    await near.system.ask(seen, get, { timeoutMs: 5_000 });
    // The process is killed: nothing of it leaves, and another takes its name.
    await first.bus.close();
    const second = await startNode('far-again/nsmgr');
    expect(await events.next()).toEqual({ address: probe.address, reason: 'crashed' });
    await first.system.stop(5_000);
    await second.end();
    await near.end();
  });

  it('serves on after hostile bytes', async () => {
    const far = await startNode('far-fuzz/nsmgr');
    const near = await startNode('near-fuzz/nsmgr');
    const probe = far.system.spawn(probeBehavior(hold), 'probe');
    far.system.exportActor(probe, probeCodec);
    const subject = 'nsm.test=2Edomain.far-fuzz.nsmgr.$actor.in';
    for (let length = 0; length < 200; length += 1) {
      const bytes = Uint8Array.from({ length }, () => systemRandom.integer(256));
      near.bus.connection.publish(subject, bytes);
    }
    const seen = near.system.refOf(probe.address, probeCodec);
    const asked = near.system.ask(seen, get, {
      timeoutMs: 5_000,
    });
    expect(await asked).toEqual([]);
    await near.end();
    await far.end();
  });
});
