// What managers and forwarders say that they hold: what is left over shows there as well as in the kernel.

import { create } from '@bufbuild/protobuf';
import type { Platform } from '../../bin/roles/platform.ts';
import { Inspection, StatusRequestSchema } from '../../protocols/nsm/gen/vwire_inspect_pb.ts';

const timeoutMs = 10_000;

/**
 * One line per process that holds connections. A manager shows one whose client vanished as DOWN until it expires, so
 * it is only asked by those who can wait for that.
 */
export async function connectionsAt(
  platform: Platform,
  url: string,
  options: { readonly withManagers: boolean },
): Promise<readonly string[]> {
  const inspection = platform.dialer.dial(url).client(Inspection);
  const status = await inspection.status(create(StatusRequestSchema), { timeoutMs });
  const forwarders = status.forwarders.map(
    ({ name, status: held }) => `${held?.connections ?? '?'} connections at ${name}`,
  );
  const quarantined = status.forwarders.flatMap(
    ({ name, status: held }) =>
      held?.quarantined.map((id) => `${id} in quarantine at ${name}`) ?? [],
  );
  const manager = options.withManagers
    ? [`${status.connections} connections at ${status.name}`]
    : [];
  return [...manager, ...forwarders, ...quarantined];
}
