// The data plane that a forwarder's configuration asks for, with its sockets.

import { readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import type { EgressNetworks } from '../../dataplane/ovs/egress.ts';
import { findFamily } from '../../dataplane/kernel/probe.ts';
import { createKernelDataplane } from '../../dataplane/kernel/kernel.ts';
import { createWireEnds } from '../../dataplane/kernel/wire-ends.ts';
import { createOvsDataplane } from '../../dataplane/ovs/ovs.ts';
import type { VlanNetworks } from '../../dataplane/vpp/vlan-networks.ts';
import { createVppDataplane } from '../../dataplane/vpp/vpp.ts';
import { NsmError } from '../../protocols/errors.ts';
import {
  type AccessRule,
  accessRulesFromDocument,
} from '../../protocols/nsm/access-rules-document.ts';
import type { PositionOf } from '../../protocols/nsm/document-reader.ts';
import { wireguardFamily } from '../../protocols/netlink/wireguard.ts';
import { devicesFromDocument, egressFromDocument } from '../../protocols/nsm/egress-document.ts';
import type { Clock } from '../../protocols/ports/clock.ts';
import type { Dataplane } from '../../protocols/ports/dataplane.ts';
import type { Journal } from '../../protocols/ports/journal.ts';
import type { TunnelKeys } from '../../protocols/ports/tunnel-keys.ts';
import type { Netlink } from '../../protocols/ports/netlink.ts';
import { filePathOf } from '../../transports/netlink/namespace-url.ts';
import { createOpenFlowClient } from '../../transports/openflow/openflow-client.ts';
import { createOvsdbClient } from '../../transports/ovsdb/ovsdb-client.ts';
import { bridgeSocketOf } from '../../transports/process/open-vswitch.ts';
import { createKeyFiles } from '../../transports/tunnel-keys/key-files.ts';
import { openTunnelKeys } from '../../transports/tunnel-keys/tunnel-keys.ts';
import { unixHost } from '../../transports/unix-stream/unix-stream.ts';
import { createVppClient } from '../../transports/vpp-api-client/vpp-api-client.ts';
import { createVppStatistics } from '../../transports/vpp-api-client/vpp-statistics.ts';
import { readYamlDocument } from '../yaml-file.ts';
import type { ForwarderConfig } from '../config/roles/forwarder.ts';

export interface OpenDataplane {
  readonly dataplane: Dataplane;
  /** Where it makes tunnels that need keys: those of which it was given the secrets. */
  readonly tunnelKeys?: TunnelKeys;
  /** After the data plane itself has been closed. */
  close(): Promise<void>;
}

const probeTimeoutMs = 5_000;

type VppConfig = Pick<
  ForwarderConfig,
  | 'vppApiSocket'
  | 'vppStatistics'
  | 'vppHostInterfaces'
  | 'vppInit'
  | 'wireguardPorts'
  | 'accessRulesFile'
  | 'devicesFile'
>;

export async function openDataplane(
  config: Pick<
    ForwarderConfig,
    'name' | 'installation' | 'dataplane' | 'bridgeName' | 'ovsDatabase' | 'egressFile'
  > &
    VppConfig,
  system: System,
): Promise<OpenDataplane> {
  const { name: forwarder, installation } = config;
  const { openKeyJournal, ...ports } = system;
  const owner = { forwarder, installation, ...ports };
  switch (config.dataplane) {
    case 'kernel':
      return openKernel(owner, openKeyJournal);
    case 'ovs':
      return openOvs(config, owner);
    case 'vpp':
      return openVpp(config, owner, openKeyJournal);
  }
}

interface System {
  readonly netlink: Netlink;
  readonly clock: Clock;
  /** For the keys of its tunnels; opened where it makes some. */
  readonly openKeyJournal: () => Promise<Journal>;
}

type Owned = Omit<System, 'openKeyJournal'> & {
  readonly forwarder: string;
  readonly installation: string;
};

/** Keys where this kernel has a use for them. */
async function openKernel(
  owner: Owned,
  openKeyJournal: System['openKeyJournal'],
): Promise<OpenDataplane> {
  const family = await findFamily(owner.netlink, wireguardFamily, { timeoutMs: probeTimeoutMs });
  if (family === undefined) {
    return { dataplane: createKernelDataplane(owner), close: async () => {} };
  }
  const journal = await openKeyJournal();
  const tunnelKeys = await openTunnelKeys({ journal, ipsec: false });
  return {
    dataplane: createKernelDataplane({ ...owner, secrets: tunnelKeys }),
    tunnelKeys,
    close: () => journal.close(),
  };
}

async function openOvs(
  config: Pick<ForwarderConfig, 'bridgeName' | 'ovsDatabase' | 'egressFile'>,
  owner: Owned,
): Promise<OpenDataplane> {
  const { bridgeName: bridge, ovsDatabase } = config;
  const { netlink } = owner;
  const module = await findFamily(netlink, 'ovs_datapath', { timeoutMs: probeTimeoutMs });
  const database = createOvsdbClient({ socketPath: ovsDatabase, host: unixHost });
  const openFlow = createOpenFlowClient({
    socketPath: bridgeSocketOf(ovsDatabase, bridge),
    host: unixHost,
  });
  const dataplane = createOvsDataplane({
    ...owner,
    bridge,
    networks: networksIn(config.egressFile),
    datapathType: module === undefined ? 'netdev' : 'system',
    ends: createWireEnds(owner),
    database,
    openFlow,
  });
  return {
    dataplane,
    async close() {
      await openFlow.close();
      await database.close();
    },
  };
}

/** Errors: UNIMPLEMENTED for a way to other nodes that is not there yet, those of the keys' journal. */
async function openVpp(
  config: VppConfig,
  owner: Owned,
  openKeyJournal: System['openKeyJournal'],
): Promise<OpenDataplane> {
  if (config.vppInit === 'AF_XDP') {
    throw new NsmError('UNIMPLEMENTED', 'VPP cannot be given a link by AF_XDP here', {
      rule: 'NSM_VPP_INIT',
      expected: 'AF_PACKET or NONE',
      found: 'AF_XDP',
      remedy: 'leave NSM_VPP_INIT unset, or give VPP its interface and set NONE',
    });
  }
  const journal = await openKeyJournal();
  const tunnelKeys = await openTunnelKeys({ journal, ipsec: true });
  const vpp = createVppClient({
    socketPath: config.vppApiSocket,
    host: unixHost,
    name: owner.forwarder,
  });
  const statistics = createVppStatistics({ socketPath: config.vppStatistics, clock: owner.clock });
  const ends = createWireEnds(owner);
  const hasUplink = config.vppInit === 'AF_PACKET';
  const hasTrunks = config.vppHostInterfaces === 'shared';
  const { wireguardPorts } = config;
  const accessRules = accessRulesIn(config.accessRulesFile);
  const sockets = { vpp, statistics, pathOf: filePathOf };
  const keyFiles = createKeyFiles(
    join(dirname(config.vppApiSocket), `vwire-keys-${owner.forwarder}`),
  );
  const tunnels = { secrets: tunnelKeys, wireguardPorts, keyFiles };
  const filter = accessRules === undefined ? {} : { accessRules };
  return {
    dataplane: createVppDataplane({
      ...owner,
      ...sockets,
      ...tunnels,
      ...filter,
      networks: devicesIn(config.devicesFile),
      hasTrunks,
      hasUplink,
      ends,
    }),
    tunnelKeys,
    async close() {
      await vpp.close();
      statistics.close();
      await journal.close();
    },
  };
}

/** Undefined without a file. Errors: INVALID_ARGUMENT with the line, and what reading the file throws. */
function accessRulesIn(path: string | undefined): readonly AccessRule[] | undefined {
  if (path === undefined || path === '') return undefined;
  return readEntries(path, 'file of access rules', accessRulesFromDocument);
}

/** Errors: INVALID_ARGUMENT with the line, and what reading the file throws. */
function networksIn(path: string | undefined): EgressNetworks {
  if (path === undefined || path === '') return new Map();
  const entries = readEntries(path, 'L2 resource selector file', egressFromDocument);
  return new Map(entries.map(({ via, ...network }) => [via, network]));
}

/** Errors: INVALID_ARGUMENT with the line, and what reading the file throws. */
function devicesIn(path: string | undefined): VlanNetworks {
  if (path === undefined || path === '') return new Map();
  const entries = readEntries(path, 'device selector file', devicesFromDocument);
  return new Map(entries.map(({ via, ...network }) => [via, network]));
}

function readEntries<Entry>(
  path: string,
  kind: string,
  entriesIn: (value: unknown, positionOf: PositionOf) => readonly Entry[],
): readonly Entry[] {
  const document = readYamlDocument(readFileSync(path, 'utf8'), { kind, name: path });
  return document === undefined ? [] : entriesIn(document.value, document.positionOf);
}
