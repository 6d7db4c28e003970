// Whether both ends of an encrypted tunnel have agreed on keys, which is when it carries packets.

import type { Clock } from '../../protocols/ports/clock.ts';
import type { Budget } from '../../protocols/ports/dataplane.ts';
import type { Vpp } from '../../protocols/ports/vpp.ts';
import { interfaceFlags } from '../../protocols/vpp/messages/enums.ts';
import type { FoundEnd } from './inventory.ts';
import { hasSession } from './wireguard.ts';

/** Between two looks, and for how long. A handshake takes one or two round trips. */
const lookAgainAfterMs = 5;
const sessionWithinMs = 500;

/**
 * Until the tunnel carries packets, so that none is lost on what is turned over to it; where the other node is not there
 * yet it is turned over all the same.
 */
export async function awaitSession(
  { vpp, clock }: { readonly vpp: Vpp; readonly clock: Clock },
  tunnel: FoundEnd,
  budget: Budget,
): Promise<void> {
  const endMs = clock.nowMs() + Math.min(sessionWithinMs, budget.timeoutMs / 2);
  while (!(await carries(vpp, tunnel, budget)) && clock.nowMs() < endMs) {
    await new Promise<void>((resolve) => void clock.after(lookAgainAfterMs, resolve));
  }
}

async function carries(vpp: Vpp, { index, wireguard }: FoundEnd, budget: Budget): Promise<boolean> {
  if (wireguard !== undefined) return hasSession(vpp, wireguard, budget);
  const [found] = await vpp.dump('sw_interface_dump', { sw_if_index: index }, budget);
  return ((found?.flags ?? 0) & interfaceFlags.adminUp) !== 0;
}
