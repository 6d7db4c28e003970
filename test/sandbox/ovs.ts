// Open vSwitch for tests: its own database, folder and network namespace, no service, and the datapath that a forwarder
// takes here: the kernel's where it is there, unless VWIRE_TEST_OVS_DATAPATH=netdev. Needs Debian's openvswitch-switch,
// found on PATH or by VWIRE_OVSDB_SERVER, VWIRE_OVS_VSWITCHD and VWIRE_OVSDB_TOOL; the schema by VWIRE_OVS_SCHEMA or
// beside the programs.
// Invariant: after `close` none of its processes, files and namespaces is left.

import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { findFamily } from '../../dataplane/kernel/probe.ts';
import type { DatapathType } from '../../dataplane/ovs/switch.ts';
import { createNetlink } from '../../transports/netlink/netlink.ts';
import type { NetworkNamespace } from '../../transports/netlink/network-namespace.ts';
import { spawnInNamespace } from '../../transports/netlink/spawn-in-namespace.ts';
import {
  createOpenVSwitch,
  findOvsPrograms,
  type OpenVSwitch,
  whyNoTap,
} from '../../transports/process/open-vswitch.ts';
import type { Sandbox } from './namespaces.ts';
import { createSandbox, whyNoNamespaces } from './namespaces.ts';

export interface OvsSandbox {
  readonly databaseSocket: string;
  readonly node: NetworkNamespace;
  readonly sandbox: Sandbox;
  /** Of the bridges that are made for a test. */
  readonly datapathType: DatapathType;
  bridgeSocket(bridge: string): string;
  startDatabase(): Promise<void>;
  startSwitch(): Promise<void>;
  /** Sends a signal; with SIGKILL and SIGTERM it resolves once the process is gone. */
  signal: OpenVSwitch['signal'];
  close(): Promise<void>;
}

/** Undefined where Open vSwitch can be run; else the reason why not, for a printed skip. */
export function whyNoOvs(): string | undefined {
  const programs = findOvsPrograms(process.env);
  return typeof programs === 'string' ? programs : (whyNoTap() ?? whyNoNamespaces());
}

/** Starts the database server, and vswitchd unless told otherwise; in a namespace of its own unless given one. */
export async function startOvs(options: {
  readonly withSwitch: boolean;
  readonly sandbox?: Sandbox;
  readonly node?: NetworkNamespace;
}): Promise<OvsSandbox> {
  const programs = findOvsPrograms(process.env);
  if (typeof programs === 'string') throw new Error(programs);
  const folder = mkdtempSync(join(tmpdir(), 'vwovs-'));
  const sandbox = options.sandbox ?? createSandbox();
  const node = options.node ?? sandbox.namespace();
  const ovs = createOpenVSwitch({
    programs,
    folder,
    spawn: (command, args, how) => spawnInNamespace(node.url, [command, ...args], how),
  });
  const close = async (): Promise<void> => {
    await ovs.stop();
    if (options.sandbox === undefined) await sandbox.close();
    rmSync(folder, { recursive: true, force: true });
  };
  let datapathType: DatapathType;
  try {
    datapathType = await datapathTypeIn(node);
    await ovs.start('database');
    if (options.withSwitch) await ovs.start('switch');
  } catch (error) {
    await close();
    throw error;
  }
  return {
    databaseSocket: ovs.databaseSocket,
    node,
    sandbox,
    datapathType,
    bridgeSocket: (bridge) => ovs.bridgeSocket(bridge),
    startDatabase: () => ovs.start('database'),
    startSwitch: () => ovs.start('switch'),
    signal: (program, signal) => ovs.signal(program, signal),
    close,
  };
}

async function datapathTypeIn(node: NetworkNamespace): Promise<DatapathType> {
  if (process.env['VWIRE_TEST_OVS_DATAPATH'] === 'netdev') return 'netdev';
  const netlink = createNetlink({ namespace: node.url });
  try {
    const module = await findFamily(netlink, 'ovs_datapath', { timeoutMs: 10_000 });
    return module === undefined ? 'netdev' : 'system';
  } finally {
    await netlink.close();
  }
}
