// Protects the registry's JetStream KV store by the contract of all registry stores, on a real nats-server, and
// beyond it: what happens when that server stops, comes back, or comes back without its data.

import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { silentLog } from '../../protocols/ports/log.ts';
import type { StoreChange } from '../../protocols/ports/registry-store.ts';
import { connectNats, type NatsBus } from '../../transports/nats/nats-bus.ts';
import { type NatsServer, startNatsServer } from '../../transports/nats/nats-server.ts';
import { createNatsRegistryStore } from '../../transports/nats/registry-store.ts';
import { decodeStoreKey, encodeStoreKey } from '../../transports/nats/registry-store-keys.ts';
import { systemClock } from '../../transports/process/system-clock.ts';
import { registryStoreContract } from './registry-store.ts';

let directory: string;
let server: NatsServer;
let bus: NatsBus;

const connect = (url: string): Promise<NatsBus> =>
  connectNats({ url, name: 'store-test', clock: systemClock, log: silentLog });

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'vwire-kv-'));
  server = await startNatsServer({ storeDir: join(directory, 'main') });
  bus = await connect(server.url);
});

afterAll(async () => {
  await bus.close();
  await server.stop();
  await rm(directory, { recursive: true, force: true });
});

registryStoreContract('JetStream KV', async (label) =>
  createNatsRegistryStore({ bus, bucket: label }),
);

describe('the keys of a KV bucket', () => {
  it('hold any name, and give it back', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'grapheme' }), (name) => {
        const encoded = encodeStoreKey(name);
        expect(encoded).toMatch(/^[a-zA-Z0-9_/=-]*$/);
        expect(decodeStoreKey(encoded)).toBe(name);
      }),
    );
    for (const foreign of ['a.b', '=4', '=zz', '=41', 'ä']) {
      expect(decodeStoreKey(foreign)).toBeUndefined();
    }
  });
});

describe('a KV store whose server goes away', () => {
  const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);

  it('fails with UNAVAILABLE, and resumes its watch behind what it has seen', async () => {
    await withOwnServer(async ({ store, other, changes, restart }) => {
      await other.put('a', bytes('1'));
      await expect.poll(() => kinds(changes)).toEqual(['put a']);
      await restart({ keepData: true });
      await expect.poll(() => tryPut(other, 'b'), { timeout: 10_000 }).toBe(true);
      await expect.poll(() => kinds(changes), { timeout: 10_000 }).toContain('put b');
      expect(kinds(changes).filter((kind) => kind === 'put a')).toHaveLength(1);
      expect(kinds(changes)).not.toContain('reset');
      expect((await store.load()).map(({ key }) => key).toSorted()).toEqual(['a', 'b']);
    });
  });

  it('says reset when the server has lost its data, and takes new entries', async () => {
    await withOwnServer(async ({ store, other, changes, restart }) => {
      await other.put('a', bytes('1'));
      await expect.poll(() => kinds(changes)).toEqual(['put a']);
      await restart({ keepData: false });
      await expect.poll(() => kinds(changes), { timeout: 10_000 }).toContain('reset');
      await expect.poll(() => tryPut(other, 'b'), { timeout: 10_000 }).toBe(true);
      await expect.poll(() => kinds(changes), { timeout: 10_000 }).toContain('put b');
      expect((await store.load()).map(({ key }) => key)).toEqual(['b']);
    });
  });

  it('takes its deletion markers out of the stream, and nothing newer', async () => {
    await withOwnServer(async ({ other, changes, connection }) => {
      await other.watch(() => {});
      for (const key of ['gone', 'back']) {
        await other.put(key, bytes('x'));
        await other.delete(key);
      }
      await other.put('back', bytes('y'));
      await expect.poll(() => kinds(changes)).toContain('deleted gone');
      const { jetstreamManager } = await import('@nats-io/jetstream');
      const manager = await jetstreamManager(connection.connection);
      await expect
        .poll(async () => (await manager.streams.info('KV_own')).state.messages, { timeout: 5_000 })
        .toBe(1);
      expect((await other.load()).map(({ key }) => key)).toEqual(['back']);
    });
  });
});

interface Own {
  readonly store: ReturnType<typeof createNatsRegistryStore>;
  readonly other: ReturnType<typeof createNatsRegistryStore>;
  readonly changes: StoreChange[];
  readonly connection: NatsBus;
  readonly restart: (how: { keepData: boolean }) => Promise<void>;
}

let runs = 0;

async function withOwnServer(work: (own: Own) => Promise<void>): Promise<void> {
  runs += 1;
  const storeDir = join(directory, `own${runs}`);
  let own = await startNatsServer({ storeDir });
  const { port } = own;
  const buses = await Promise.all([connect(own.url), connect(own.url)]);
  const [store, other] = buses.map((each) =>
    createNatsRegistryStore({ bus: each, bucket: 'own', markerAgeMs: 300, timeoutMs: 1_000 }),
  ) as [Own['store'], Own['other']];
  const changes: StoreChange[] = [];
  try {
    await store.watch((change) => changes.push(change));
    await work({
      store,
      other,
      changes,
      connection: buses[0],
      restart: async ({ keepData }) => {
        await own.stop();
        await expect(other.put('lost', new Uint8Array(1))).rejects.toMatchObject({
          code: 'UNAVAILABLE',
        });
        if (!keepData) await rm(storeDir, { recursive: true });
        own = await startNatsServer({ storeDir, port });
      },
    });
  } finally {
    await Promise.all([store.close(), other.close()]);
    await Promise.all(buses.map((each) => each.close()));
    await own.stop();
  }
}

function kinds(changes: readonly StoreChange[]): string[] {
  return changes.map((change) => {
    if (change.kind === 'reset') return 'reset';
    return `${change.kind} ${change.kind === 'put' ? change.entry.key : change.key}`;
  });
}

async function tryPut(store: Own['other'], key: string): Promise<boolean> {
  try {
    await store.put(key, new Uint8Array(1), 0);
    return true;
  } catch (error) {
    // An attempt that seemed to fail may have been taken.
    return (error as { code?: string }).code === 'ABORTED';
  }
}
