// Whether a failed repair speaks against the Endpoint, so that the client lets another one be chosen. Pure.
// Trouble of the client's own node (its manager or forwarder starting again) says nothing about an Endpoint whose wire
// still carries packets: choosing anew would only change the client's addresses.

import type { NsmError } from '../../protocols/errors.ts';
import type { Connection } from '../../protocols/nsm/gen/connection_pb.ts';

export interface Healing {
  /** From now on the client asks for whichever Endpoint fits. */
  readonly reselects: boolean;
  /** Repairs that failed at the client's own manager; one that nobody answered in time counts several times. */
  readonly failedAtManager: number;
}

export const healingBegins: Healing = { reselects: false, failedAtManager: 0 };

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
  if (!unanswered && !atManager) return { ...healing, reselects: true };
  const failedAtManager = healing.failedAtManager + (unanswered ? unansweredWeight : 1);
  return {
    failedAtManager,
    reselects: healing.reselects || failedAtManager >= failedAtManagerMax,
  };
}
