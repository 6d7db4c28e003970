// Whether a connection may stay at its Endpoint, and whether its client would get another one: by the service's matches
// as of now. NSM concept: the reference's netsvcmonitor, which asks the same of the Endpoint alone. Invariant: while the
// registry is away nothing is judged, and what cannot be judged stays.

import { isSupplier } from '../../protocols/nsm/supplier.ts';
import type { Clock } from '../../protocols/ports/clock.ts';
import type { Intent } from '../connection/connection-table.ts';
import type { Discovery, ServiceView } from '../discovery/discovery.ts';
import type { Judge, Verdict } from './moves.ts';

export interface PlacementSetup {
  readonly clock: Clock;
  readonly discovery: Discovery;
  /** Endpoints of this node that drain, by name. */
  readonly drains: (endpoint: string) => boolean;
}

const judgeTimeoutMs = 5_000;
const fine: Verdict = { kind: 'fine' };

/** For connections that end at a draining Endpoint of this node. */
export function judgeDraining(setup: PlacementSetup): Judge {
  return async (intent) => {
    const endpoint = intent.connection.networkServiceEndpointName;
    if (!setup.drains(endpoint)) return fine;
    const view = await serviceOf(setup, intent);
    return elsewhere(setup, { intent, view, why: `Endpoint ${endpoint} drains` });
  };
}

/** For connections whose service has changed. */
export function judgePlaced(setup: PlacementSetup): Judge {
  return async (intent) => {
    const { networkServiceEndpointName: held, networkService, labels } = intent.connection;
    const view = await serviceOf(setup, intent);
    if (setup.discovery.placement(view)(labels, held)) return fine;
    const why = `the matches of ${networkService} pick Endpoint ${held} no more`;
    return elsewhere(setup, { intent, view, why });
  };
}

function serviceOf({ clock, discovery }: PlacementSetup, intent: Intent): Promise<ServiceView> {
  const { signal } = new AbortController();
  const deadlineMs = clock.nowMs() + judgeTimeoutMs;
  return discovery.discover(intent.connection.networkService, { deadlineMs, signal });
}

function elsewhere(
  { discovery, drains }: PlacementSetup,
  {
    intent,
    view,
    why,
  }: { readonly intent: Intent; readonly view: ServiceView; readonly why: string },
): Verdict {
  const { networkServiceEndpointName: held, networkService, labels } = intent.connection;
  if (view.isStale) return { kind: 'stuck', why: `${why}; the registry is away` };
  const isThere = discovery
    .eligible(view, labels)
    .some((each) => each.name !== held && !drains(each.name) && !isSupplier(each, networkService));
  if (isThere) return { kind: 'move', why };
  return { kind: 'stuck', why: `${why}; no other Endpoint of ${networkService} fits its labels` };
}
