// `vwire nse passthrough`: an Endpoint that passes its clients on to the next Endpoint of the same service, with the variables
// of the icmp-responder. Addresses, name servers and routes are the last Endpoint's, so those variables have no effect.

import { createKernelChain } from '../../dataplane/kernel/chain.ts';
import { openJournal } from '../../transports/journal/journal.ts';
import { namespaceInodeUrl } from '../../transports/netlink/namespace-url.ts';
import { createNetlink } from '../../transports/netlink/netlink.ts';
import { systemSysctl } from '../../transports/process/sysctl.ts';
import type { Log } from '../../protocols/ports/log.ts';
import type { NseConfig } from '../config/roles/nse.ts';
import { composePassthrough } from './compose-passthrough.ts';
import type { Platform } from './platform.ts';
import { clientInfoLabels, stateDirOf } from './role-process.ts';
import type { RunningRole } from './running-role.ts';

export interface PassthroughStart {
  readonly platform: Platform;
  readonly log: Log;
  readonly config: NseConfig;
  readonly listenOn: string;
}

export async function startPassthrough(start: PassthroughStart): Promise<RunningRole> {
  const { platform, log, config, listenOn } = start;
  const { clock } = platform;
  const chain = await createKernelChain({
    netlink: createNetlink(),
    sysctl: systemSysctl,
    clock,
    log,
  });
  const journal = await openJournal({
    directory: stateDirOf(config),
    name: `nse-${config.name}`,
    fsync: 'interval',
    log,
    clock,
  });
  return composePassthrough(platform, {
    name: config.name,
    connectTo: config.connectTo,
    listenOn,
    serviceNames: config.serviceNames,
    payload: config.payload,
    labels: { ...clientInfoLabels(config), ...Object.fromEntries(config.labels) },
    registerService: config.registerService,
    maxTokenLifetimeMs: config.maxTokenLifetimeMs,
    netns: namespaceInodeUrl('/proc/self/ns/net'),
    unregisters: config.unregisterItself,
    chain,
    journal,
  });
}
