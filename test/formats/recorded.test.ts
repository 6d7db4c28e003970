// Protects what earlier releases have left in the field: journals and tags that a real run has left are read as they were
// meant, byte for byte. Recorded from the chaos case `upgrade` with a local and a remote wire: connections and tags at
// commit be68a27, the lease at c0a8ec5. A change that needs other bytes here needs another number in formats.ts.

import { copyFile, mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';

import { createConnectionTable, type Intent } from '../../actors/connection/connection-table.ts';
import { decodeLeases } from '../../actors/nse/lease-records.ts';
import { parseTag } from '../../dataplane/kernel/owner.ts';
import { formatPrefix } from '../../protocols/ipam/address.ts';
import { type Log, silentLog } from '../../protocols/ports/log.ts';
import { type FileJournal, openJournal } from '../../transports/journal/journal.ts';
import { createManualClock } from '../sandbox/manual-clock.ts';

const recordings = join(import.meta.dirname, 'recorded');
const clock = createManualClock();
const lifetimeMs = 600_000;
let directory: string;
let journal: FileJournal | undefined;
let told: string[];
const tell = (message: string) => void told.push(message);
const log: Log = { ...silentLog, error: tell, warn: tell };

beforeEach(async () => {
  told = [];
  directory = await mkdtemp(join(tmpdir(), 'vwire-recorded-'));
});

afterEach(async () => {
  await journal?.close();
  await rm(directory, { recursive: true, force: true });
});

async function opened(name: string): Promise<FileJournal> {
  const file = `${name}.journal`;
  await copyFile(join(recordings, file), join(directory, file));
  journal = await openJournal({ directory, name, fsync: 'never', log, clock });
  return journal;
}

const essence = ({ connection, memory, established, closeAtMs }: Intent) => ({
  id: connection.id,
  service: connection.networkService,
  path: connection.path?.pathSegments.map(({ name }) => name),
  namespace: connection.mechanism?.parameters['inodeURL'],
  addresses: [connection.context?.ipContext?.srcIpAddrs, connection.context?.ipContext?.dstIpAddrs],
  nextName: memory.nextName,
  onward: memory.onwardMechanism?.type,
  established,
  closeAtMs,
});

/** Of another boot: how much of its life is left is not known. */
const alive = { established: true, closeAtMs: lifetimeMs };
const local = {
  ...alive,
  service: 'local-7',
  path: ['client-9', 'nsmgr-node-1', 'forwarder-node-1', 'server-8'],
  namespace: 'inode://4/4026532734',
  addresses: [['172.16.0.1/32'], ['172.16.0.0/32']],
};
const remote = {
  ...alive,
  service: 'remote-10',
  path: [
    'client-12',
    'nsmgr-node-1',
    'forwarder-node-1',
    'nsmgr-node-2',
    'forwarder-node-2',
    'server-11',
  ],
  namespace: 'inode://4/4026532876',
  addresses: [['172.16.1.1/32'], ['172.16.1.0/32']],
};

test.each([
  [
    'forwarder-node-1',
    [
      {
        ...local,
        id: '8a299e49-1087-447d-bdfd-cd5370132138',
        nextName: 'server-8',
        onward: 'KERNEL',
      },
      {
        ...remote,
        id: '0d573ae6-b1c2-4c02-aa8b-908be1b98de9',
        nextName: 'server-11',
        onward: 'VXLAN',
      },
    ],
  ],
  [
    'nsmgr-node-1',
    [
      { ...local, id: 'eb107f9c-538c-4bce-8a7d-ea22150698d6', nextName: 'forwarder-node-1' },
      { ...remote, id: '463e1788-fbf6-4df0-9cea-ad932893d968', nextName: 'forwarder-node-1' },
    ],
  ],
  [
    'nse-server-11',
    [
      {
        ...remote,
        id: '55f675cf-65f6-4b93-83fa-74815953ddbe',
        namespace: 'inode://4/4026532807',
      },
    ],
  ],
])(
  'the connections of %s are read from its journal, which stays as it is',
  async (name, wanted) => {
    const table = createConnectionTable({
      journal: await opened(name),
      clock,
      bootId: 'another',
      lifetimeMsMax: lifetimeMs,
      log,
    });
    expect((await table.load()).map(essence)).toEqual(wanted);
    expect(told).toEqual([]);
    const file = `${name}.journal`;
    expect(await readFile(join(directory, file))).toEqual(await readFile(join(recordings, file)));
  },
);

test('the lease of a client that is away is read from its journal', async () => {
  const records = await (await opened('nse-server-2-leases')).load();
  const setup = { clock, bootId: 'another', keepMs: 1_000, log };
  const leases = decodeLeases(records, setup).map(({ pairs, ...lease }) => ({
    ...lease,
    pairs: pairs.map(({ src, dst }) => [formatPrefix(src), formatPrefix(dst)]),
  }));
  expect(leases).toEqual([
    {
      key: '["","client-3","local-1","nsm-1"]',
      clientId: 'client-3-0',
      pairs: [['172.16.0.1/32', '172.16.0.0/32']],
      extra: [],
      keepUntilMs: 1_000,
    },
  ]);
  expect(told).toEqual([]);
});

test('the tags of both kinds of link are read', () => {
  const owner = { installation: 'chaos-21651-1', forwarder: 'forwarder-node-1' };
  const common = 'vwire/1 i=chaos-21651-1 f=forwarder-node-1';
  const veth = `${common} w=8a299e49-1087-447d-bdfd-cd5370132138 e=client n=nsm-1 m=ea4ded2ec56c done`;
  expect(parseTag(owner, veth)).toEqual({
    version: 1,
    wireId: '8a299e49-1087-447d-bdfd-cd5370132138',
    role: 'client',
    interfaceName: 'nsm-1',
    macAddress: 'ea:4d:ed:2e:c5:6c',
    isDone: true,
  });
  const tunnel = `${common} w=0d573ae6-b1c2-4c02-aa8b-908be1b98de9 e=endpoint r=172.31.255.2 p=4789 done`;
  expect(parseTag(owner, tunnel)).toEqual({
    version: 1,
    wireId: '0d573ae6-b1c2-4c02-aa8b-908be1b98de9',
    role: 'endpoint',
    remoteIp: '172.31.255.2',
    remotePort: 4789,
    isDone: true,
  });
});
