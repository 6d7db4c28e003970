// The Open vSwitch of each node of a chain whose forwarder needs one: Go's always, ours where a chain asks for it. With
// the datapath in user space, so a node that has another beside it gets its underlay on a bridge of that switch.

import { dirname } from 'node:path';
import { holdUnderlay, initialiseDatabase } from '../../bin/demo/demo-switches.ts';
import { select } from '../../protocols/ovs/ovsdb-operations.ts';
import { textOf } from '../../protocols/ovs/ovsdb-values.ts';
import type { Netlink } from '../../protocols/ports/netlink.ts';
import type { NetworkNamespace } from '../../transports/netlink/network-namespace.ts';
import { createOvsdbClient } from '../../transports/ovsdb/ovsdb-client.ts';
import { unixHost } from '../../transports/unix-stream/unix-stream.ts';
import type { Sandbox } from '../sandbox/namespaces.ts';
import { type OvsSandbox, startOvs } from '../sandbox/ovs.ts';
import type { Position } from './positions.ts';

const budget = { timeoutMs: 10_000 };

/** Of every forwarder, in both languages; theirs, not a wire's. */
export const bridgeName = 'br-nsm';

export type ForwarderPosition = 'forwarder' | 'far-forwarder';

export interface SwitchedNode {
  readonly position: ForwarderPosition;
  readonly isGo: boolean;
  readonly node: NetworkNamespace;
  /** What the underlay has; none where the chain is on one node. */
  readonly addresses: readonly string[];
}

export class ChainSwitches {
  readonly #sandbox: Sandbox;
  readonly #netlink: Netlink;
  readonly #switches = new Map<Position, OvsSandbox>();

  constructor(sandbox: Sandbox, netlink: Netlink) {
    this.#sandbox = sandbox;
    this.#netlink = netlink;
  }

  async start({ position, isGo, node, addresses }: SwitchedNode): Promise<void> {
    const ovs = await startOvs({ withSwitch: true, sandbox: this.#sandbox, node });
    this.#switches.set(position, ovs);
    await initialiseDatabase(ovs.databaseSocket);
    if (addresses.length > 0) {
      await holdUnderlay(this.#netlink, { namespace: node, addresses }, ovs.databaseSocket);
    }
    if (isGo) await this.makeBridge(position);
  }

  /** In user space: Go's forwarder makes its bridge in the kernel's datapath, unless there is one already. */
  async makeBridge(position: Position): Promise<void> {
    const ovs = this.#switches.get(position);
    if (ovs === undefined) return;
    const add = ['--may-exist', 'add-br', bridgeName];
    const inUserSpace = ['set', 'bridge', bridgeName, 'datapath_type=netdev'];
    const { exitCode, stderr } = await this.#sandbox.run(ovs.node, [
      'ovs-vsctl',
      '--timeout=10',
      `--db=unix:${ovs.databaseSocket}`,
      ...add,
      '--',
      ...inUserSpace,
    ]);
    if (exitCode !== 0) throw new Error(`no bridge for the ${position}: ${stderr}`);
  }

  /** What tells a forwarder where its switch is. */
  settingsOf(position: Position, isGo: boolean): Readonly<Record<string, string>> {
    const ovs = this.#switches.get(position);
    if (ovs === undefined) return {};
    return isGo
      ? { OVS_RUNDIR: dirname(ovs.databaseSocket) }
      : { VWIRE_DATAPLANE: 'ovs', VWIRE_OVS_DATABASE: ovs.databaseSocket };
  }

  /** One line for each port that is not a bridge's own. */
  async ports(): Promise<readonly string[]> {
    const lines: string[] = [];
    for (const [position, { databaseSocket }] of this.#switches) {
      const database = createOvsdbClient({ socketPath: databaseSocket, host: unixHost });
      try {
        const [answer] = await database.transact([select('Interface', [])], budget);
        const ports = (answer?.rows ?? []).filter((row) => row['type'] !== 'internal');
        lines.push(...ports.map((row) => `switch of the ${position} ${textOf(row['name'])}`));
      } finally {
        await database.close();
      }
    }
    return lines;
  }

  async close(): Promise<void> {
    for (const ovs of this.#switches.values()) await ovs.close();
  }
}
