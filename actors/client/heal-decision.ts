// Whether a failed repair speaks against the Endpoint, so that the client lets another one be chosen. Pure.
// Trouble of the client's own node (its manager or forwarder starting again) says nothing about an Endpoint whose wire
// still carries packets: choosing anew would only change the client's addresses.

import type { NsmError } from '../../protocols/errors.ts';
import type { Connection } from '../../protocols/nsm/gen/connection_pb.ts';

export interface Healing {
  /** From now on the client asks for whichever Endpoint fits. */
  readonly reselects: boolean;
  /** Repairs that failed at the client's own manager. */
  readonly failedAtManager: number;
}

export const healingBegins: Healing = { reselects: false, failedAtManager: 0 };

/**
 * Repairs that may fail at the manager, for want of the forwarder that holds the wire, before a reselect lets it
 * choose another one; with the pauses between them about 3 s.
 */
const failedAtManagerMax = 6;

export function afterFailedRepair(
  healing: Healing,
  connection: Connection,
  error: NsmError,
): Healing {
  const { hop, rule } = error.details;
  // Nobody was asked: the manager itself is away.
  if (error.code === 'UNAVAILABLE' && hop === undefined) return healing;
  const manager = connection.path?.pathSegments[1]?.name;
  const lacksForwarder = error.code === 'UNAVAILABLE' || rule === 'select-forwarder';
  if (hop === undefined || hop !== manager || !lacksForwarder) {
    return { ...healing, reselects: true };
  }
  const failedAtManager = healing.failedAtManager + 1;
  return {
    failedAtManager,
    reselects: healing.reselects || failedAtManager >= failedAtManagerMax,
  };
}
