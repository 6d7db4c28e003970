// How a manager registers an Endpoint of its node in the domain: under the manager's own URL, with the life that the entry
// has left said as a duration, since the registry's machine may have another time of day.

import { claimedLifeMs, formatLife, lifeHeader } from '../../../protocols/nsm/claimed-life.ts';
import { timestampFromEpochMs, timestampToEpochMs } from '../../../protocols/nsm/expiry.ts';
import type { NetworkServiceEndpoint } from '../../../protocols/nsm/gen/registry_pb.ts';
import type { WallClock } from '../../../protocols/ports/clock.ts';
import type { UnaryOptions } from '../../../protocols/ports/rpc.ts';
import type { RegistryClients } from '../../registry/registry-clients.ts';

export interface UpstreamSetup {
  readonly upstream: RegistryClients;
  readonly publicUrl: string;
  readonly wallClock: WallClock;
}

/** Returns the registry's answer as this node sees it: with the Endpoint's real URL, ending by this machine's clock. */
export async function registerUpstream(
  { upstream, publicUrl, wallClock }: UpstreamSetup,
  real: NetworkServiceEndpoint,
  options: UnaryOptions,
): Promise<NetworkServiceEndpoint> {
  const ends = real.expirationTime;
  const life = ends && formatLife(timestampToEpochMs(ends) - wallClock.epochMs());
  let givenMs: number | undefined;
  const answer = await upstream.endpoints.register(
    { ...real, url: publicUrl },
    {
      ...options,
      headers: { ...options.headers, ...(life === undefined ? {} : { [lifeHeader]: life }) },
      onHeaders(headers) {
        givenMs = claimedLifeMs(headers);
        options.onHeaders?.(headers);
      },
    },
  );
  // A registry of the reference says only when.
  if (givenMs === undefined) return { ...answer, url: real.url };
  const expirationTime = timestampFromEpochMs(wallClock.epochMs() + givenMs);
  return { ...answer, expirationTime, url: real.url };
}
