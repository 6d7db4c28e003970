// `vwire nse icmp-responder`: an Endpoint that gives addresses and answers pings with the kernel's own stack, with
// the reference's variables. `vwire nse passthrough` is started from here as well.

import { create } from '@bufbuild/protobuf';
import { join, resolve } from 'node:path';
import { NsmError } from '../../protocols/errors.ts';
import { DNSConfigSchema } from '../../protocols/nsm/gen/connectioncontext_pb.ts';
import { requirePrefix } from '../../protocols/ipam/address.ts';
import { receivedPackets } from '../../transports/process/received-packets.ts';
import { namespaceInodeUrl } from '../../transports/netlink/namespace-url.ts';
import { loadNseConfig } from '../config/load.ts';
import { ConfigError } from '../config/variables.ts';
import { addressStoreFor } from './address-store.ts';
import { composeNse } from './compose-nse.ts';
import { openEndpointJournals } from './endpoint-journals.ts';
import { type PassthroughStart, startPassthrough } from './nse-passthrough.ts';
import { followPolicyRoutes } from './policy-routes.ts';
import { clientInfoLabels, runRoleProcess, stateDirOf } from './role-process.ts';
import type { RunningRole } from './running-role.ts';

const kinds = ['icmp-responder', 'passthrough'] as const;

export async function run([kind = kinds[0]]: readonly string[]): Promise<number> {
  if (!kinds.some((known) => known === kind)) {
    throw new NsmError('INVALID_ARGUMENT', 'there is no such Endpoint', {
      expected: kinds.join(', '),
      found: kind,
    });
  }
  const config = loadNseConfig(process.env);
  if (kind === 'passthrough' && config.expiry !== 'close') throw noKeepingPassthrough();
  const listenOn = `unix://${join(resolve(config.baseDir), `${config.name}.sock`)}`;
  let role: RunningRole | undefined;
  return runRoleProcess({
    role: 'nse',
    name: config.name,
    config,
    urls: [config.connectTo],
    phases: (platform, log) => [
      {
        name: `serve on ${listenOn} and register at ${config.connectTo}`,
        check: 'is the manager running, and is NSM_CONNECT_TO its URL?',
        start: async ({ end }) => {
          const started = { platform: platform(), log, config, listenOn };
          const composed =
            kind === 'passthrough'
              ? await startPassthrough(started)
              : await startResponder({ ...started, end });
          role = composed;
          return () => composed.stop(5_000);
        },
      },
    ],
    readyUrls: () => role?.urls ?? [],
  });
}

function noKeepingPassthrough(): ConfigError {
  return new ConfigError(
    'the configuration of nse passthrough is wrong:\n' +
      '  VWIRE_EXPIRY: expected close, since a passthrough does not judge whether the wires that it joins are alive; found "keep-while-alive"',
  );
}

async function startResponder({
  platform,
  log,
  config,
  listenOn,
  end,
}: PassthroughStart & { readonly end: () => void }): Promise<RunningRole> {
  const journals = await openEndpointJournals({
    directory: stateDirOf(config),
    name: config.name,
    log,
    clock: platform.clock,
  });
  const openAddressStore = addressStoreFor(platform, config);
  return composeNse(platform, {
    name: config.name,
    connectTo: config.connectTo,
    listenOn,
    serviceNames: config.serviceNames,
    payload: config.payload,
    labels: { ...clientInfoLabels(config), ...Object.fromEntries(config.labels) },
    cidrPrefixes: config.cidrPrefixes.map((group) =>
      group.map((prefix) => requirePrefix(prefix, 'NSM_CIDR_PREFIX')),
    ),
    dnsConfigs: config.dnsConfigs.map((each) =>
      create(DNSConfigSchema, {
        dnsServerIps: [...each.dnsServerIps],
        searchDomains: [...each.searchDomains],
      }),
    ),
    policyRoutes: followPolicyRoutes(config.pbrConfigPath, log),
    registerService: config.registerService,
    maxTokenLifetimeMs: config.maxTokenLifetimeMs,
    netns: namespaceInodeUrl('/proc/self/ns/net'),
    ipamPolicy: config.ipamPolicy,
    ...(config.leaseKeepMs === undefined ? {} : { leaseKeepMs: config.leaseKeepMs }),
    unregisters: config.unregisterItself,
    ...(config.idleTimeoutMs === 0
      ? {}
      : { idle: { timeoutMs: config.idleTimeoutMs, onIdle: () => end() } }),
    ...(config.expiry === 'keep-while-alive' ? { receivedPackets } : {}),
    ...journals,
    ...(openAddressStore === undefined ? {} : { openAddressStore }),
  });
}
