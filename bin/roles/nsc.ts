// `vwire nsc`: a client that keeps the requested services connected, with the reference's variables. Every change of
// a connection is one JSON line on standard output.

import type { ClientStatus } from '../../actors/client/client-setup.ts';
import { describeError } from '../../protocols/errors.ts';
import { unrequested } from '../../protocols/nsm/awareness-groups.ts';
import { parseServiceUrls } from '../../protocols/nsm/service-url.ts';
import { namespaceInodeUrl } from '../../transports/netlink/namespace-url.ts';
import { loadNscConfig } from '../config/load.ts';
import { livenessOf } from './client-liveness.ts';
import { composeNsc } from './compose-nsc.ts';
import { clientInfoLabels, runRoleProcess } from './role-process.ts';

const closeTimeoutMs = 10_000;

export async function run(): Promise<number> {
  const config = loadNscConfig(process.env);
  const services = parseServiceUrls(config.networkServices.join(','));
  const { awarenessGroups } = config;
  return runRoleProcess({
    role: 'nsc',
    name: config.name,
    config,
    urls: [config.connectTo],
    phases: (platform, log) => [
      {
        name: `request ${services.length} services of the manager at ${config.connectTo}`,
        check: 'is the manager running, and is NSM_CONNECT_TO its URL?',
        start: () => {
          const startedMs = platform().clock.nowMs();
          for (const url of unrequested(awarenessGroups, services)) {
            log.warn('an awareness group names what is not requested', { url });
          }
          const role = composeNsc(platform(), {
            name: config.name,
            connectTo: config.connectTo,
            services,
            awarenessGroups,
            labels: clientInfoLabels(config),
            requestTimeoutMs: config.requestTimeoutMs,
            maxTokenLifetimeMs: config.maxTokenLifetimeMs,
            netns: namespaceInodeUrl('/proc/self/ns/net'),
            ...livenessOf(config, platform()),
            onStatus: (service, connectionId, status) =>
              report(service.networkService, connectionId, {
                status,
                afterMs: platform().clock.nowMs() - startedMs,
              }),
          });
          return Promise.resolve(() => role.stop(closeTimeoutMs));
        },
      },
    ],
  });
}

function report(
  networkService: string,
  connectionId: string,
  { status, afterMs }: { status: ClientStatus; afterMs: number },
): void {
  const line = {
    event: status.phase,
    networkService,
    connectionId,
    afterMs: Math.round(afterMs * 10) / 10,
    ...('connection' in status
      ? {
          endpoint: status.connection.networkServiceEndpointName,
          path: status.connection.path?.pathSegments.map(({ name }) => name),
          addresses: status.connection.context?.ipContext?.srcIpAddrs,
          peerAddresses: status.connection.context?.ipContext?.dstIpAddrs,
          interface: status.connection.mechanism?.parameters['name'],
          socket: status.connection.mechanism?.parameters['socketfile'],
        }
      : {}),
    ...('attempts' in status ? { attempts: status.attempts } : {}),
    ...('cause' in status ? { cause: status.cause } : {}),
    ...('lastError' in status ? { error: describeError(status.lastError) } : {}),
  };
  process.stdout.write(`${JSON.stringify(line)}\n`);
}
