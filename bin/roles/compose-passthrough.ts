// Puts a passthrough Endpoint together: it serves clients and is a client of the next Endpoint for each, and joins the two
// wires in its namespace. What its journal holds it goes on with, wires included.

import { createConnections } from '../../actors/connection/connections.ts';
import { createConnectionTable } from '../../actors/connection/connection-table.ts';
import { emptyTokens } from '../../actors/connection/tokens.ts';
import {
  asDown,
  endsIn,
  joinEnds,
  passthroughHop,
} from '../../actors/passthrough/passthrough-hop.ts';
import { defaultInterfaceName } from '../../protocols/nsm/interface-name.ts';
import type { Chain } from '../../protocols/ports/chain.ts';
import type { Journal } from '../../protocols/ports/journal.ts';
import { nextHopsOf } from './next-hops.ts';
import { type EndpointRegistering, registerEndpoint } from './nse-parts.ts';
import { guarded } from './authorization.ts';
import type { Platform } from './platform.ts';
import { registeredSoon } from './registered-soon.ts';
import { closeAll, listenOnAll, type RunningRole } from './running-role.ts';

export interface PassthroughOptions extends EndpointRegistering {
  readonly listenOn: string;
  readonly maxTokenLifetimeMs: number;
  /** `inode://` or `file://` URL of the namespace that the wires end in. */
  readonly netns: string;
  readonly chain: Chain;
  readonly journal?: Journal;
}

const ownCallTimeoutMs = 15_000;

export async function composePassthrough(
  platform: Platform,
  options: PassthroughOptions,
): Promise<RunningRole> {
  const { clock, wallClock, log, random, listener } = platform;
  const { name, chain, netns, maxTokenLifetimeMs } = options;
  const { nextHop, nextHopMonitors } = nextHopsOf(platform, name);
  const table = createConnectionTable({
    clock,
    log,
    bootId: platform.bootId,
    lifetimeMsMax: maxTokenLifetimeMs,
    ...(options.journal === undefined ? {} : { journal: options.journal }),
  });
  const connections = createConnections({
    ...platform,
    name,
    hop: passthroughHop({
      ...options,
      nextHop,
      newInterfaceName: (service) => defaultInterfaceName(service, random),
    }),
    table,
    tokens: platform.tokens ?? emptyTokens(wallClock, maxTokenLifetimeMs),
    nextHopMonitors,
    ownCallTimeoutMs,
  });
  for (const intent of await table.load()) {
    const { connection, memory } = intent;
    const isHere = connection.mechanism !== undefined && endsIn(connection.mechanism, netns);
    if (isHere) joinEnds(chain, connection, memory);
    else await table.put({ ...intent, connection: asDown(connection) });
  }
  connections.directory.adopt([...table.all()]);
  const services = guarded(platform, name, connections.services, { table });
  const listening = await listenOnAll(listener, [options.listenOn], services);
  const urls = listening.map(({ url }) => url);
  const registration = registerEndpoint(platform, options, urls);
  await registeredSoon(registration, log);
  return {
    urls,
    // Its wires stay, and stay joined: the next life takes them up.
    async stop(timeoutMs) {
      await registration.stop(timeoutMs);
      await closeAll(listening, timeoutMs);
      nextHopMonitors.close();
      await chain.close();
      await options.journal?.close();
    },
  };
}
