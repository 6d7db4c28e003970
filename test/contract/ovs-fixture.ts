// One node with a running Open vSwitch for the data plane's contract suites: each owner has its bridge, faults strike
// across netlink, database and flows, and harm is done with clients of its own.

import { createWireEnds } from '../../dataplane/kernel/wire-ends.ts';
import { createOvsDataplane } from '../../dataplane/ovs/ovs.ts';
import { wireCookie } from '../../dataplane/ovs/tags.ts';
import { allFlows, deleteFlowsByCookie } from '../../protocols/ovs/flow-builders.ts';
import { insert, mutate, select } from '../../protocols/ovs/ovsdb-operations.ts';
import {
  entriesOf,
  mapOf,
  namedUuid,
  setOf,
  textOf,
  uuid,
  uuidsOf,
} from '../../protocols/ovs/ovsdb-values.ts';
import type { OpenFlow } from '../../protocols/ports/ovs.ts';
import { createNetlink } from '../../transports/netlink/netlink.ts';
import { createOpenFlowClient } from '../../transports/openflow/openflow-client.ts';
import { createOvsdbClient } from '../../transports/ovsdb/ovsdb-client.ts';
import { unixHost } from '../../transports/unix-stream/unix-stream.ts';
import { harmWire } from '../sandbox/harm-wire.ts';
import { createInFlightClock } from '../sandbox/in-flight-clock.ts';
import { faultyNetlink } from '../sandbox/netlink-faults.ts';
import { type OvsSandbox, startOvs } from '../sandbox/ovs.ts';
import { createPlannedFaults, faultyOpenFlow, faultyOvsdb } from '../sandbox/planned-faults.ts';
import type { Harm } from './dataplane-fixture.ts';
import type { CarryingFixture } from './dataplane-in-flight.ts';
import { nodeFixture } from './node-fixture.ts';

const budget = { timeoutMs: 10_000 };
const foreignBridge = 'br-theirs';

interface OwnInterface {
  readonly name: string;
  readonly id: string;
  readonly type: string;
  readonly ids: ReadonlyMap<string, unknown>;
  readonly remoteIp: unknown;
}

export interface OvsNodeFixture extends CarryingFixture {
  readonly ovs: OvsSandbox;
}

export async function ovsFixture(): Promise<OvsNodeFixture> {
  const ovs = await startOvs({ withSwitch: true });
  const real = createNetlink({ namespace: ovs.node.url });
  const database = createOvsdbClient({ socketPath: ovs.databaseSocket, host: unixHost });
  await database.transact([insert('Open_vSwitch', {})], budget);
  const faults = createPlannedFaults();
  const clock = createInFlightClock();
  const common = nodeFixture(ovs.sandbox, real);
  const bridges = new Map<string, OpenFlow>();
  const closes: (() => Promise<void>)[] = [];
  const openFlowOf = (bridge: string): OpenFlow => {
    const known = bridges.get(bridge);
    const client =
      known ?? createOpenFlowClient({ socketPath: ovs.bridgeSocket(bridge), host: unixHost });
    bridges.set(bridge, client);
    return client;
  };
  /** As a process has them: a restarted one knows nothing of what was told to another. */
  const ownClients = (bridge: string) => {
    const clients = {
      database: createOvsdbClient({ socketPath: ovs.databaseSocket, host: unixHost }),
      openFlow: createOpenFlowClient({ socketPath: ovs.bridgeSocket(bridge), host: unixHost }),
    };
    closes.push(
      () => clients.database.close(),
      () => clients.openFlow.close(),
    );
    return clients;
  };
  const flowCount = async (): Promise<number> => {
    const [answer] = await database.transact(
      [select('Bridge', [['name', '!=', foreignBridge]], ['name'])],
      budget,
    );
    let count = 0;
    for (const row of answer?.rows ?? []) {
      count += (await openFlowOf(textOf(row['name']) ?? '').flowSums(allFlows, budget)).flows;
    }
    return count;
  };

  const interfaces = async (): Promise<OwnInterface[]> => {
    const [answer] = await database.transact([select('Interface', [])], budget);
    return (answer?.rows ?? []).map((row) => ({
      name: textOf(row['name']) ?? '',
      id: uuidsOf(row['_uuid'])[0] ?? '',
      type: textOf(row['type']) ?? '',
      ids: entriesOf(row['external_ids']),
      remoteIp: entriesOf(row['options']).get('remote_ip'),
    }));
  };
  const isOfWire = ({ type, ids }: OwnInterface): boolean =>
    type !== 'internal' && ids.has('vwire-installation');

  const dropPort = async (name: string): Promise<void> => {
    const [answer] = await database.transact([select('Port', [['name', '==', name]])], budget);
    const id = uuidsOf(answer?.rows[0]?.['_uuid'])[0] ?? '';
    await database.transact([mutate('Bridge', [], [['ports', 'delete', setOf(uuid(id))]])], budget);
  };

  const harmSwitch = async (harm: Harm, wireId: string, side: string): Promise<boolean> => {
    const found = await interfaces();
    const tunnel = found.find(({ ids }) => ids.has(`vwire-use/${side}/${wireId}`));
    if (harm === 'unjoined') {
      const cookie = wireCookie({ installation: 'ours', forwarder: 'first' }, wireId);
      await openFlowOf('br-first').program([deleteFlowsByCookie(cookie)], budget);
    } else if (harm === 'remoteless') {
      const where = [['_uuid', '==', uuid(tunnel?.id ?? '')] as const];
      const mutations = [
        ['options', 'delete', setOf('remote_ip')],
        ['options', 'insert', mapOf({ remote_ip: '192.0.2.9' })],
      ] as const;
      await database.transact([mutate('Interface', where, mutations)], budget);
    } else if (harm === 'unfiltered') {
      await dropPort(tunnel?.name ?? '');
    } else return false;
    return true;
  };

  /** What a person has in the same switch. */
  const addForeignToSwitch = async (): Promise<void> => {
    await database.transact(
      [
        insert('Interface', { name: foreignBridge, type: 'internal' }, 'interface'),
        insert('Port', { name: foreignBridge, interfaces: namedUuid('interface') }, 'port'),
        insert(
          'Bridge',
          { name: foreignBridge, datapath_type: ovs.datapathType, ports: namedUuid('port') },
          'bridge',
        ),
        mutate('Open_vSwitch', [], [['bridges', 'insert', setOf(namedUuid('bridge'))]]),
      ],
      budget,
    );
  };
  const foreignInSwitch = async (): Promise<number> => {
    const [answer] = await database.transact(
      [select('Bridge', [['name', '==', foreignBridge]])],
      budget,
    );
    return answer?.rows.length ?? 0;
  };

  return {
    ...common,
    clock,
    ovs,
    async addForeign(place) {
      await common.addForeign(place);
      await addForeignToSwitch();
    },
    async foreignCount() {
      return (await common.foreignCount()) + (await foreignInSwitch());
    },
    driver({ installation = 'ours', forwarder = 'first', tagVersion = 1 } = {}) {
      const owner = { installation, forwarder, tagVersion };
      const bridge = `br-${installation === 'ours' ? forwarder : installation}`;
      const netlink = faultyNetlink(real, faults);
      const own = ownClients(bridge);
      const driver = createOvsDataplane({
        ...owner,
        clock,
        bridge,
        datapathType: ovs.datapathType,
        ends: createWireEnds({ netlink, clock, ...owner }),
        database: faultyOvsdb(own.database, faults),
        openFlow: faultyOpenFlow(own.openFlow, faults),
      });
      closes.unshift(() => driver.close());
      return driver;
    },
    async objectCount() {
      const links = (await common.wireLinks()).map(({ name }) => name);
      const rows = (await interfaces()).filter(isOfWire);
      const ports = rows.filter(({ type }) => type === '').map(({ name }) => name);
      // Two directions with two UDP ports need two tunnels to one peer.
      const peers = rows
        .filter(({ type }) => type === 'vxlan')
        .map(({ remoteIp }) => String(remoteIp));
      const objects = new Set([...links, ...ports, ...peers]);
      return objects.size + (objects.size === 0 ? await flowCount() : 0);
    },
    failAt: (position) => faults.failAt(position),
    crashAt: (position) => faults.crashAt(position),
    hasStruck: () => faults.hasStruck,
    heal: () => faults.heal(),
    async harm(harm, wire, side) {
      if (await harmSwitch(harm, wire.id, side)) return;
      await harmWire({ netlink: real, node: ovs.node.url }, harm, { wire, side });
    },
    healedAlone: ['unjoined'],
    tunnelIp: '127.0.0.1',
    async close() {
      for (const close of closes) await close();
      for (const client of bridges.values()) await client.close();
      await database.close();
      await real.close();
      await ovs.close();
    },
  };
}
