// `vwire supplier`: starts an Endpoint as a process of this node for a client that would get none (scale from zero),
// with the variables of the reference's nse-supplier-k8s and a template of a process instead of one of a pod.

import { join } from 'node:path';
import { type EndpointTemplate, renderEndpoint } from '../../protocols/nsm/endpoint-template.ts';
import type { Log } from '../../protocols/ports/log.ts';
import { openJournal } from '../../transports/journal/journal.ts';
import { createNamedNamespaces } from '../../transports/netlink/named-namespaces.ts';
import { createProcessSupplier } from '../../transports/process/process-supplier.ts';
import { loadSupplierConfig } from '../config/load.ts';
import type { SupplierConfig } from '../config/roles/supplier.ts';
import { composeSupplier } from './compose-supplier.ts';
import type { Platform } from './platform.ts';
import { clientInfoLabels, closesAtStop, runRoleProcess, stateDirOf } from './role-process.ts';
import type { RunningRole } from './running-role.ts';
import { roleStopMs } from './stop-times.ts';
import { suppliedProcess } from './supplied-process.ts';
import { readSupplierTemplate } from './supplier-template.ts';

export async function run(): Promise<number> {
  const config = loadSupplierConfig(process.env);
  const template = readSupplierTemplate(config.template);
  const listenOn = `unix://${join(stateDirOf(config), `${config.name}.sock`)}`;
  let role: RunningRole | undefined;
  return runRoleProcess({
    role: 'supplier',
    name: config.name,
    config,
    urls: [config.connectTo],
    phases: (platform, log) => [
      {
        name: `take up what it started, serve on ${listenOn} and register at ${config.connectTo}`,
        check: 'is another supplier using this state directory, is the manager running?',
        start: async () => {
          const composed = await composeSupplier(platform(), {
            ...config,
            nodeName: config.nodeName,
            labels: { ...clientInfoLabels(config), ...Object.fromEntries(config.labels) },
            listenOn,
            supplier: await processSupplier(platform(), { config, template, log }),
            endsAtStop: closesAtStop(),
          });
          role = composed;
          return () => composed.stop(roleStopMs);
        },
      },
    ],
    readyUrls: () => role?.urls ?? [],
  });
}

async function processSupplier(
  platform: Platform,
  options: {
    readonly config: SupplierConfig;
    readonly template: EndpointTemplate;
    readonly log: Log;
  },
) {
  const { config, template, log } = options;
  const directory = stateDirOf(config);
  return createProcessSupplier({
    ...platform,
    plan: (connection) => renderEndpoint(template, connection),
    processOf: (plan, connection, ownDirectory) =>
      suppliedProcess({ config, plan, connection, directory: ownDirectory }),
    directory: join(directory, 'supplied'),
    namespaces: createNamedNamespaces(config.netnsDir),
    journal: await openJournal({
      directory,
      name: `supplier-${config.name}`,
      fsync: 'interval',
      log,
      clock: platform.clock,
    }),
  });
}
