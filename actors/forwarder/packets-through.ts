// What a forwarder sees of a wire's life: both ends, and the packets that came through. Of a wire between two workloads
// of this node what either has sent counts. Of one that leaves the node only what came out of the tunnel does: that this
// side sends says nothing of the other.

import { describeError } from '../../protocols/errors.ts';
import { isFarEndGone } from '../../protocols/nsm/far-end.ts';
import { isTunnel } from '../../protocols/nsm/mechanism.ts';
import type { Clock } from '../../protocols/ports/clock.ts';
import type { Dataplane, WireStatistics } from '../../protocols/ports/dataplane.ts';
import type { Intent } from '../connection/connection-table.ts';
import type { Finding, Look } from '../connection/keeping.ts';

export function packetsThrough(dataplane: Dataplane, clock: Clock): Look {
  return async (intent, { deadlineMs, signal }) => {
    const { id } = intent.connection;
    if (isFarEndGone(intent.connection)) {
      return { kind: 'gone', why: 'the namespace of the Endpoint is gone' };
    }
    try {
      const timeoutMs = Math.max(1, deadlineMs - clock.nowMs());
      const statistics = await dataplane.statistics([id], { timeoutMs, signal });
      return countedIn(intent, statistics.get(id) ?? {});
    } catch (error) {
      return { kind: 'unknown', why: `the wire cannot be looked at: ${describeError(error)}` };
    }
  };
}

function countedIn({ connection, memory }: Intent, { client, endpoint }: WireStatistics): Finding {
  // Its repair may be under way.
  if (client === undefined || endpoint === undefined) {
    return { kind: 'unknown', why: 'an end of the wire is not there' };
  }
  const leaves = [connection.mechanism, memory.onwardMechanism].map(isTunnel);
  const isLocal = !leaves.includes(true);
  const packets = [client, endpoint]
    .filter((_, side) => isLocal || leaves[side] === true)
    .reduce((sum, { txPackets }) => sum + txPackets, 0n);
  return { kind: 'there', packets };
}
