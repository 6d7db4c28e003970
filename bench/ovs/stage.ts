// One switch with nothing in it, for one part of the suite: the main loop of ovs-vswitchd goes through all ports at every
// turn, so what one part leaves there would be counted to the next.

import { setTimeout } from 'node:timers/promises';
import { dirname } from 'node:path';
import { createOvsDataplane } from '../../dataplane/ovs/ovs.ts';
import { insert } from '../../protocols/ovs/ovsdb-operations.ts';
import type { Dataplane } from '../../protocols/ports/dataplane.ts';
import type { Netlink } from '../../protocols/ports/netlink.ts';
import type { WireEnds } from '../../protocols/ports/wire-ends.ts';
import { createSandbox, type Sandbox } from '../../test/sandbox/namespaces.ts';
import { type OvsSandbox, startOvs } from '../../test/sandbox/ovs.ts';
import { createNetlink } from '../../transports/netlink/netlink.ts';
import { createOpenFlowClient } from '../../transports/openflow/openflow-client.ts';
import { createOvsdbClient } from '../../transports/ovsdb/ovsdb-client.ts';
import { systemClock } from '../../transports/process/system-clock.ts';
import { unixHost } from '../../transports/unix-stream/unix-stream.ts';
import { handBridge, handSettings } from './by-hand.ts';
import { type VendorTools, vendorTools } from './vendor-tools.ts';

export interface Stage {
  readonly sandbox: Sandbox;
  readonly ovs: OvsSandbox;
  readonly netlink: Netlink;
  readonly tools: VendorTools;
  /** Over a bridge of its own. */
  dataplane(bridge: string, ends: WireEnds): Dataplane;
  /** Closed with the stage, before the switch. */
  closing(close: () => Promise<void>): void;
}

export const suite = 'ovs';
export const budget = { timeoutMs: 20_000 };
/**
 * After a change the switch reads all of its links again, since its own promiscuous mode is a change of theirs, and tells
 * the database their states: at most a tenth of a second later.
 */
const restMs = 200;

export async function onStage<Result>(work: (stage: Stage) => Promise<Result>): Promise<Result> {
  const sandbox = createSandbox();
  const ovs = await startOvs({ withSwitch: true, sandbox, node: sandbox.namespace() });
  const netlink = createNetlink({ namespace: ovs.node.url });
  const tools = vendorTools(dirname(ovs.databaseSocket));
  const closes: (() => Promise<void>)[] = [];
  const dataplane: Stage['dataplane'] = (bridge, ends) => {
    const database = createOvsdbClient({ socketPath: ovs.databaseSocket, host: unixHost });
    const openFlow = createOpenFlowClient({ socketPath: ovs.bridgeSocket(bridge), host: unixHost });
    const owner = { installation: 'bench', forwarder: bridge };
    const parts = { ends, database, openFlow, bridge, clock: systemClock };
    const made = createOvsDataplane({ ...owner, ...parts, datapathType: 'netdev' });
    closes.push(
      () => made.close(),
      () => openFlow.close(),
      () => database.close(),
    );
    return made;
  };
  const closing: Stage['closing'] = (close) => void closes.push(close);
  try {
    await initialise(ovs.databaseSocket);
    tools.vsctl('add-br', handBridge, '--', 'set', 'bridge', handBridge, ...handSettings);
    return await work({ sandbox, ovs, netlink, tools, dataplane, closing });
  } finally {
    for (const close of closes) await close();
    await netlink.close();
    await ovs.close();
    await sandbox.close();
  }
}

async function initialise(socketPath: string): Promise<void> {
  const database = createOvsdbClient({ socketPath, host: unixHost });
  await database.transact([insert('Open_vSwitch', {})], budget);
  await database.close();
}

/** Milliseconds that it takes a switch at rest. */
export async function timedFromRest(action: () => Promise<unknown>): Promise<number> {
  await setTimeout(restMs);
  return timed(action);
}

export async function timed(action: () => Promise<unknown>): Promise<number> {
  const startMs = performance.now();
  await action();
  return performance.now() - startMs;
}
