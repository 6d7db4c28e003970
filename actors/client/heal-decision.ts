// What a client does about a connection in trouble. Pure; the table is docs/ARCHITECTURE.md, "Healing".
// A lost control plane is no evidence against a wire that carries packets: it is repaired in place, however long that
// takes. A dead wire, or a dead service behind it, is left at once. Where nothing is known of the data plane the client
// repairs in place until a failure speaks against the Endpoint. Trouble of the client's own node (its manager or
// forwarder starting again) does not: choosing anew would only change the client's addresses.

import { errorCodes, type NsmError } from '../../protocols/errors.ts';
import type { Connection } from '../../protocols/nsm/gen/connection_pb.ts';
import type { Verdict } from '../../protocols/ports/liveness.ts';

/** `none`: leave it. `repair`: the same Request again. `reselect`: whichever Endpoint fits, the old one last. */
export type Remedy = 'none' | 'repair' | 'reselect';

export interface Evidence {
  readonly dataPlane: Verdict['kind'];
  readonly controlPlane: 'up' | 'lost';
  /** Whether a failed repair has spoken against the Endpoint. */
  readonly endpoint: 'trusted' | 'doubted';
}

export function remedyFor({ dataPlane, controlPlane, endpoint }: Evidence): Remedy {
  if (dataPlane === 'dead') return 'reselect';
  if (controlPlane === 'up') return 'none';
  return dataPlane === 'unknown' && endpoint === 'doubted' ? 'reselect' : 'repair';
}

export interface Healing {
  /** A failed repair has spoken against the Endpoint. */
  readonly doubtsEndpoint: boolean;
  /** Repairs that failed at the client's own manager; one that nobody answered in time counts several times. */
  readonly failedAtManager: number;
}

export const healingBegins: Healing = { doubtsEndpoint: false, failedAtManager: 0 };

/**
 * Repairs that may fail at the manager, for want of the forwarder that holds the wire, before a reselect lets it
 * choose another one; with the pauses between them about 3 s.
 */
const failedAtManagerMax = 6;

/**
 * What a repair counts that nobody answered in time. The client cannot tell a manager that hangs from an Endpoint that
 * does, and has waited far longer than for a refusal: one such repair is borne, the second lets it choose anew.
 */
const unansweredWeight = failedAtManagerMax / 2;

export function afterFailedRepair(
  healing: Healing,
  connection: Connection,
  error: NsmError,
): Healing {
  const { hop, rule } = error.details;
  // Nobody was asked: the manager itself is away.
  if (error.code === 'UNAVAILABLE' && hop === undefined) return healing;
  const manager = connection.path?.pathSegments[1]?.name;
  const unanswered = error.code === 'DEADLINE_EXCEEDED' && hop === undefined;
  const lacksForwarder = error.code === 'UNAVAILABLE' || rule === 'select-forwarder';
  const atManager = hop !== undefined && hop === manager && lacksForwarder;
  if (!unanswered && !atManager) return { ...healing, doubtsEndpoint: true };
  const failedAtManager = healing.failedAtManager + (unanswered ? unansweredWeight : 1);
  return {
    failedAtManager,
    doubtsEndpoint: healing.doubtsEndpoint || failedAtManager >= failedAtManagerMax,
  };
}

/**
 * Whether a refusal is about the connection itself, so that asking again, or for another Endpoint, would not help. Who
 * finds no forwarder or no Endpoint, or cannot reach one, says nothing of the connection.
 */
export function refusesConnection({ code }: NsmError): boolean {
  return !errorCodes[code].retryable;
}
