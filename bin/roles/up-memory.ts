// `vwire up --bus memory`: registry, manager and forwarder in this process, over the memory network. The manager listens
// on its unix socket as well, so that workloads and commands find it where they always do.

import { createKernelDataplane } from '../../dataplane/kernel/kernel.ts';
import { openJournal } from '../../transports/journal/journal.ts';
import { createNamespaces } from '../../transports/netlink/namespace-identity.ts';
import { createNetlink } from '../../transports/netlink/netlink.ts';
import { endpointVariable } from '../../transports/spiffe-ts/spiffe.ts';
import { createMemoryRegistryStore } from '../../transports/memory/registry-store.ts';
import { commonVariables } from '../config/common.ts';
import { loadForwarderConfig, loadNsmgrConfig } from '../config/load.ts';
import type { Phase } from '../phases.ts';
import { composeForwarder } from './compose-forwarder.ts';
import { composeNsmgr } from './compose-nsmgr.ts';
import { followExcludedPrefixes } from './excluded-prefixes.ts';
import { composeRegistry } from './compose-registry.ts';
import { underlayMtu } from './underlay-mtu.ts';
import { createPlatform, type Platform } from './platform.ts';
import { platformStopMs, roleStopMs } from './stop-times.ts';
import type { UpSetup } from './up-setup.ts';

const registryUrl = 'memory:registry';
const probeTimeoutMs = 10_000;

export function memoryPhases(setup: UpSetup): readonly Phase[] {
  let platform: Platform | undefined;
  const get = (): Platform => {
    if (platform === undefined) throw new Error('the platform is made by the first phase');
    return platform;
  };
  return [
    ...setup.identities.phases,
    {
      name: 'make the platform',
      check: 'does SPIFFE_ENDPOINT_SOCKET name a Workload API that knows this process?',
      start: async () => {
        const variables = setup.identities.of('nsmgr');
        const workloadApi = variables[endpointVariable];
        const operators = variables[commonVariables.operators.name]?.split(',');
        const made = await createPlatform({
          name: 'up',
          log: setup.log,
          natsUrl: undefined,
          insecure: setup.config.insecure,
          authorization: { ...setup.config, ...(operators && { operators }) },
          ...(workloadApi === undefined ? {} : { workloadApi }),
        });
        platform = made;
        setup.say('bus', `none: all parts run in process ${process.pid}`);
        return () => made.stop(platformStopMs);
      },
    },
    registryPhase(setup, get),
    managerPhase(setup, get),
    forwarderPhase(setup, get),
  ];
}

function registryPhase({ config, say }: UpSetup, platform: () => Platform): Phase {
  return {
    name: 'start the registry',
    check: 'nothing outside of this process is needed',
    start: async () => {
      const registry = await composeRegistry(platform(), {
        name: config.domain,
        listenOn: [registryUrl],
        store: createMemoryRegistryStore(),
      });
      say('registry', 'in memory');
      return () => registry.stop(roleStopMs);
    },
  };
}

function managerPhase(setup: UpSetup, platform: () => Platform): Phase {
  const { node, socketUrl, stateDir, say, log } = setup;
  return {
    name: `start the manager on ${socketUrl}`,
    check: 'does something else listen there?',
    start: async () => {
      const config = loadNsmgrConfig(process.env);
      const { clock } = platform();
      const name = `nsmgr-${node}`;
      const journal = { directory: stateDir, name, fsync: 'interval', log, clock } as const;
      const excluded = followExcludedPrefixes(config.excludedPrefixesFile, log);
      const manager = await composeNsmgr(platform(), {
        name,
        node,
        nodeLeaseMs: config.nodeLeaseMs,
        endpointGraceMs: config.endpointGraceMs,
        moveGraceMs: config.moveGraceMs,
        drainJournal: await openJournal({ ...journal, name: `${name}-drains` }),
        listenOn: [socketUrl, managerUrl(node)],
        registryUrl,
        forwarderServiceName: config.forwarderNetworkServiceName,
        maxTokenLifetimeMs: config.maxTokenLifetimeMs,
        keepsWhileAlive: config.expiry === 'keep-while-alive',
        nodeLabels: { nodeName: node },
        excludedPrefixes: () => excluded.value,
        closesAtStop: true,
        journal: await openJournal(journal),
      });
      say('manager', name);
      return () => {
        excluded.stop();
        return manager.stop(roleStopMs);
      };
    },
  };
}

function forwarderPhase(setup: UpSetup, platform: () => Platform): Phase {
  const { node, stateDir, installation, say, log } = setup;
  return {
    name: 'start the forwarder',
    check: 'has the process CAP_NET_ADMIN and CAP_SYS_ADMIN?',
    timeoutMs: 60_000,
    start: async () => {
      const config = loadForwarderConfig(process.env);
      const { clock } = platform();
      const name = `forwarder-${node}`;
      const netlink = createNetlink();
      const dataplane = createKernelDataplane({ netlink, installation, forwarder: name, clock });
      const forwarder = await composeForwarder(platform(), {
        name,
        node,
        domain: config.domain,
        networkServiceName: config.networkServiceName,
        labels: Object.fromEntries(config.labels),
        connectTo: managerUrl(node),
        listenOn: `memory:${node}/forwarder`,
        maxTokenLifetimeMs: config.maxTokenLifetimeMs,
        keepsWhileAlive: config.expiry === 'keep-while-alive',
        tunnelIp: config.tunnelIp ?? '',
        vxlanPort: config.vxlanPort,
        underlayMtu: await underlayMtu(netlink, config.tunnelIp, log),
        dataplane,
        namespaces: createNamespaces(platform().bootId),
        capabilities: await dataplane.probe({ timeoutMs: probeTimeoutMs }),
        mechanismPriority: config.mechanismPriority,
        closesAtStop: true,
        journal: await openJournal({ directory: stateDir, name, fsync: 'interval', log, clock }),
      });
      say('forwarder', name);
      return async () => {
        await forwarder.stop(roleStopMs);
        await netlink.close();
      };
    },
  };
}

const managerUrl = (node: string): string => `memory:${node}/nsmgr`;
