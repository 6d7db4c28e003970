// Puts a supplier together: its actor over a port that starts Endpoints, the door for Requests, its registration.

import { create } from '@bufbuild/protobuf';
import { createConnections } from '../../actors/connection/connections.ts';
import { createConnectionTable } from '../../actors/connection/connection-table.ts';
import { emptyTokens } from '../../actors/connection/tokens.ts';
import { spawnEndpointRegistration } from '../../actors/endpoint/endpoint-registration.ts';
import { registryClients, type RegistryClients } from '../../actors/registry/registry-clients.ts';
import { supplierBehavior } from '../../actors/supplier/supplier.ts';
import { supplierHop } from '../../actors/supplier/supplier-hop.ts';
import {
  NetworkServiceEndpointSchema,
  NetworkServiceQuerySchema,
  NetworkServiceSchema,
} from '../../protocols/nsm/gen/registry_pb.ts';
import { describeError } from '../../protocols/errors.ts';
import { supplierLabel } from '../../protocols/nsm/supplier.ts';
import type { EndpointSupplier } from '../../protocols/ports/endpoint-supplier.ts';
import type { Timer } from '../../protocols/ports/clock.ts';
import { guarded } from './authorization.ts';
import { type Platform, publicUrlOf } from './platform.ts';
import { registeredSoon } from './registered-soon.ts';
import { closeAll, listenOnAll, type RunningRole } from './running-role.ts';
import { timeLeft } from './stop-times.ts';

export interface SupplierOptions {
  readonly name: string;
  /** URL of the manager. */
  readonly connectTo: string;
  readonly listenOn: string;
  readonly serviceName: string;
  readonly payload: 'IP' | 'ETHERNET';
  readonly labels: Readonly<Record<string, string>>;
  readonly maxTokenLifetimeMs: number;
  readonly endpointsMax: number;
  readonly supplier: EndpointSupplier;
  /** Where Endpoints are started; undefined: clients of any node will do. */
  readonly nodeName: string | undefined;
  /** Ends what it started when it stops, instead of leaving it to the next life. */
  readonly endsAtStop?: boolean;
}

const ownCallTimeoutMs = 15_000;
const serviceCall = { timeoutMs: 5_000 };
const retryMs = 200;
const retryMsMax = 10_000;

export async function composeSupplier(
  platform: Platform,
  options: SupplierOptions,
): Promise<RunningRole> {
  const { clock, wallClock, log, system, dialer, listener } = platform;
  const { name, supplier, maxTokenLifetimeMs } = options;
  const registry = registryClients(dialer.dial(options.connectTo));
  const unregister = async (endpoint: string, timeoutMs: number): Promise<void> => {
    const entry = create(NetworkServiceEndpointSchema, { name: endpoint });
    await registry.endpoints.unregister(entry, { timeoutMs });
  };
  const actor = system.spawn(
    supplierBehavior({ supplier, endpointsMax: options.endpointsMax, unregister }),
    `${name} supplier`,
  );
  const table = createConnectionTable({
    clock,
    log,
    bootId: platform.bootId,
    lifetimeMsMax: maxTokenLifetimeMs,
  });
  const connections = createConnections({
    ...platform,
    name,
    hop: supplierHop({ name, system, clock, supplier: actor, nodeName: options.nodeName }),
    table,
    tokens: platform.tokens ?? emptyTokens(wallClock, maxTokenLifetimeMs),
    ownCallTimeoutMs,
  });
  const services = guarded(platform, name, connections.services, { table });
  const listening = await listenOnAll(listener, [options.listenOn], services);
  const urls = listening.map(({ url }) => url);
  const giveUpService = registerServiceIfAbsent(platform, registry, options);
  const registration = spawnEndpointRegistration(
    system,
    { registry, endpoint: endpointOf(options, publicUrlOf(urls)), services: [], wallClock },
    `${name} registration`,
  );
  await registeredSoon(registration, log);
  return {
    urls,
    async stop(timeoutMs) {
      giveUpService();
      const left = timeLeft(clock, timeoutMs);
      await registration.stop(timeoutMs);
      await closeAll(listening, left());
      if (options.endsAtStop === true) {
        const ending = supplier
          .running()
          .map((each) => supplier.remove(each.name, { timeoutMs: left() }));
        await Promise.allSettled(ending);
      }
      await supplier.close();
    },
  };
}

/**
 * An operator's service has matches, which a registration without any would take away. Tried until the registry has
 * answered. Returns what gives up.
 */
function registerServiceIfAbsent(
  { clock, log, random }: Platform,
  { services }: RegistryClients,
  { serviceName, payload }: SupplierOptions,
): () => void {
  let timer: Timer | undefined;
  let isOver = false;
  const attempt = async (failures: number): Promise<void> => {
    try {
      const query = create(NetworkServiceQuerySchema, { networkService: { name: serviceName } });
      for await (const { networkService } of services.find(query, serviceCall)) {
        if (networkService?.name === serviceName) return;
      }
      const service = create(NetworkServiceSchema, { name: serviceName, payload });
      await services.register(service, serviceCall);
    } catch (error) {
      if (isOver) return;
      const fields = { networkService: serviceName, error: describeError(error) };
      if (failures === 0) log.warn('the service of the supplier could not be looked up', fields);
      const fullMs = Math.min(retryMsMax, retryMs * 2 ** Math.min(failures, 10));
      const delayMs = fullMs * (1 - random.integer(1000) / 2000);
      timer = clock.after(delayMs, () => void attempt(failures + 1));
    }
  };
  void attempt(0);
  return () => {
    isOver = true;
    timer?.cancel();
  };
}

function endpointOf(options: SupplierOptions, url: string) {
  const labels = { ...options.labels, [supplierLabel.key]: supplierLabel.value };
  return create(NetworkServiceEndpointSchema, {
    name: options.name,
    networkServiceNames: [options.serviceName],
    networkServiceLabels: { [options.serviceName]: { labels } },
    url,
  });
}
