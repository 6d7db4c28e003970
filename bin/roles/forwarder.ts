// `vwire forwarder`: the forwarder of a node over the kernel, Open vSwitch or VPP, with the reference's variables. The only role that needs
// CAP_NET_ADMIN and CAP_SYS_ADMIN.

import { openJournal } from '../../transports/journal/journal.ts';
import { createNamespaces } from '../../transports/netlink/namespace-identity.ts';
import { createNetlink } from '../../transports/netlink/netlink.ts';
import { loadForwarderConfig } from '../config/load.ts';
import { composeForwarder } from './compose-forwarder.ts';
import { openDataplane } from './forwarder-dataplane.ts';
import { closesAtStop, nodeNameOf, runRoleProcess, stateDirOf } from './role-process.ts';
import type { RunningRole } from './running-role.ts';
import { roleStopMs } from './stop-times.ts';
import { underlayMtu } from './underlay-mtu.ts';

const probeTimeoutMs = 10_000;
/** A look over many wires costs some milliseconds; never one after the other without a pause. */
const reconcileIntervalMsMin = 1_000;

export async function run(): Promise<number> {
  const config = loadForwarderConfig(process.env);
  const { name, connectTo, listenOn } = config;
  let role: RunningRole | undefined;
  return runRoleProcess({
    role: 'forwarder',
    name,
    config,
    urls: [connectTo, listenOn],
    phases: (platform, log) => [
      {
        name: 'adopt the wires of an earlier life, serve and register',
        check:
          'has the process CAP_NET_ADMIN and CAP_SYS_ADMIN? do the manager and, for ovs, ovs-vswitchd, for vpp, VPP run?',
        timeoutMs: 60_000,
        start: async () => {
          const { clock } = platform();
          const directory = stateDirOf(config);
          const netlink = createNetlink();
          const journal = { directory, log, clock };
          const opened = await openDataplane(config, {
            netlink,
            clock,
            openKeyJournal: () =>
              openJournal({ ...journal, name: `${name}-tunnel-keys`, fsync: 'always' }),
          });
          const { dataplane } = opened;
          const capabilities = await dataplane.probe({ timeoutMs: probeTimeoutMs });
          for (const feature of capabilities.missing) {
            // That it makes no wires of some kind is its nature.
            if (/^[A-Z]/.test(feature)) log.info('the data plane lacks a mechanism', { feature });
            else log.warn('the data plane lacks a feature', { feature });
          }
          const composed = await composeForwarder(platform(), {
            name,
            domain: config.domain,
            node: nodeNameOf(config),
            networkServiceName: config.networkServiceName,
            labels: Object.fromEntries(config.labels),
            connectTo,
            listenOn,
            maxTokenLifetimeMs: config.maxTokenLifetimeMs,
            keepsWhileAlive: config.expiry === 'keep-while-alive',
            tunnelIp: config.tunnelIp ?? '',
            vxlanPort: config.vxlanPort,
            underlayMtu: await underlayMtu(netlink, config.tunnelIp, log),
            dataplane,
            namespaces: createNamespaces(platform().bootId),
            capabilities,
            mechanismPriority: config.mechanismPriority,
            tunnelKeys: opened.tunnelKeys,
            wireguardPorts: config.wireguardPorts,
            reconcileIntervalMs: Math.max(reconcileIntervalMsMin, config.reconcileIntervalMs),
            closesAtStop: closesAtStop(),
            journal: await openJournal({ ...journal, name, fsync: 'interval' }),
          });
          role = composed;
          return async () => {
            await composed.stop(roleStopMs);
            await opened.close();
            await netlink.close();
          };
        },
      },
    ],
    readyUrls: () => role?.urls ?? [],
  });
}
