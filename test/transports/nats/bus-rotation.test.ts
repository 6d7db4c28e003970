// Protects the promise that certificates on the bus change and nobody notices: with SVIDs of a few seconds, clients
// connect anew and the server reads its new certificate while requests go on without a pause, and none is lost. No
// connection that was replaced stays, and what is kept in the registry's bucket goes on being told.

import { X509Certificate } from 'node:crypto';
import { connect } from 'node:net';
import { connect as connectTls } from 'node:tls';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { liveResources, noLeak } from '../../contract/rpc.ts';
import { BusStage } from '../../sandbox/bus-stage.ts';
import { eventually } from '../../sandbox/eventually.ts';
import { renewed } from '../../sandbox/identities.ts';

let stage: BusStage;
let before: Record<string, number>;

beforeEach(() => {
  before = liveResources();
});

afterEach(async () => {
  await stage.close();
  await noLeak(before);
});

it('loses no request over several lives of the SVIDs of caller, callee and server', async () => {
  stage = await BusStage.open(4_000);
  const { served, bus: ofCallee } = await stage.serve('nsmgr');
  const { ask, bus: ofCaller } = await stage.caller('nsc');
  const connections = new Set([ofCallee.connection, ofCaller.connection]);
  const leaves = new Set<string>();
  const identities = await Promise.all(['nsmgr', 'nsc'].map((name) => stage.identity(name)));
  let asked = 0;
  const failures: unknown[] = [];
  let isOver = false;
  const askOn = async (worker: number): Promise<void> => {
    while (!isOver) {
      asked += 1;
      await ask(`${worker}-${asked}`).catch((error: unknown) => failures.push(error));
    }
  };
  const workers = Array.from({ length: 8 }, (_, worker) => askOn(worker));
  await eventually('three lives of each', 30_000, () => {
    for (const identity of identities) {
      leaves.add(Buffer.from(identity.current()?.svid.chain[0] ?? []).toString('hex'));
    }
    connections.add(ofCallee.connection).add(ofCaller.connection);
    expect(leaves.size).toBeGreaterThanOrEqual(6);
    expect(connections.size).toBeGreaterThanOrEqual(6);
  });
  isOver = true;
  await Promise.all(workers);
  expect(failures).toEqual([]);
  expect(served.length).toBe(asked);
  expect(asked).toBeGreaterThan(100);
  expect([ofCaller, ofCallee].map(({ reconnectedAtMs }) => reconnectedAtMs)).toEqual([
    -Infinity,
    -Infinity,
  ]);
}, 60_000);

it('of the server reaches who connects next, and ends nobody', async () => {
  stage = await BusStage.open();
  await stage.serve('nsmgr');
  const { ask, bus } = await stage.caller('nsc');
  await ask('before');
  const known = await shownBy(stage.secured.server.port);
  await renewed(await stage.identity('nsc'), () => stage.identities.server.rotateSvids());
  await eventually('another certificate', 10_000, async () =>
    expect(await shownBy(stage.secured.server.port)).not.toBe(known),
  );
  await ask('after');
  expect(bus.reconnectedAtMs).toBe(-Infinity);
});

it('of a registry goes on where its bucket was left', async () => {
  stage = await BusStage.open();
  const store = await stage.store('registry');
  const told: string[] = [];
  await store.watch((change) => {
    if (change.kind === 'put') told.push(change.entry.key);
  });
  const registry = await stage.identity('registry');
  for (const key of ['a', 'b', 'c']) {
    await store.put(key, new Uint8Array([1]));
    await renewed(registry, () => stage.identities.server.rotateSvids());
    // While it reads its configuration, JetStream of the server answers nobody; the registry writes again, too.
    await eventually('the write', 5_000, () => store.put(`${key}-during`, new Uint8Array([1])));
  }
  await eventually('all that was put', 10_000, () =>
    expect(told.toSorted()).toEqual(['a', 'a-during', 'b', 'b-during', 'c', 'c-during']),
  );
});

/** Serial number of the certificate that the server shows; NATS says INFO before TLS begins. */
function shownBy(port: number): Promise<string> {
  return new Promise((resolve, reject) => {
    const plain = connect(port, '127.0.0.1');
    plain.once('error', reject);
    plain.once('data', () => {
      const socket = connectTls({ socket: plain, rejectUnauthorized: false }, () => {
        resolve(new X509Certificate(socket.getPeerCertificate().raw).serialNumber);
        socket.destroy();
      });
      socket.on('error', reject);
    });
  });
}
