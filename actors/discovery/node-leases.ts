// Which nodes are away: those whose manager's lease has ended (protocols/nsm/node-lease.ts). NSM has no such concept;
// there a node that is gone is known by the calls to it that fail. Invariants: only a lease that was there can end; nothing
// is judged while the registry is away; a lease that comes back ends the matter at once; what is remembered is bounded.

import type { NetworkServiceEndpoint } from '../../protocols/nsm/gen/registry_pb.ts';
import {
  confirmMs,
  leaseLabel,
  nodeLabel,
  nodeLeaseMsDefault,
} from '../../protocols/nsm/node-lease.ts';
import type { Clock, Timer } from '../../protocols/ports/clock.ts';
import type { Log } from '../../protocols/ports/log.ts';

export interface NodeLeasesSetup {
  readonly clock: Clock;
  readonly log: Log;
  /** The registry is away, or has not yet answered. */
  readonly isStale: () => boolean;
  /** Called once per lease that has ended, with the URL of its node's manager. */
  readonly onAway: (managerUrl: string) => void;
}

/** Managers that are away and remembered as such. */
const awayMax = 10_000;

export class NodeLeases {
  #setup: NodeLeasesSetup;
  #away = new Set<string>();
  /** By manager's URL: leases that are not there and may still come back. */
  #doubted = new Map<string, Timer>();

  constructor(setup: NodeLeasesSetup) {
    this.#setup = setup;
  }

  isAway(managerUrl: string): boolean {
    return this.#away.has(managerUrl);
  }

  get someAreAway(): boolean {
    return this.#away.size > 0;
  }

  /** A change of the entries of the service of leases. */
  changed(
    before: NetworkServiceEndpoint | undefined,
    after: NetworkServiceEndpoint | undefined,
  ): void {
    const left = before && leaseLabel(before, nodeLabel.url);
    const here = after && leaseLabel(after, nodeLabel.url);
    if (here !== undefined) this.#isHere(here);
    if (before !== undefined && left !== undefined && left !== here) this.#doubt(left, before);
  }

  close(): void {
    for (const timer of this.#doubted.values()) timer.cancel();
    this.#doubted.clear();
  }

  #isHere(managerUrl: string): void {
    this.#doubted.get(managerUrl)?.cancel();
    this.#doubted.delete(managerUrl);
    if (this.#away.delete(managerUrl)) this.#setup.log.info('a node is back', { managerUrl });
  }

  #doubt(managerUrl: string, lease: NetworkServiceEndpoint): void {
    const leaseMs = Number(leaseLabel(lease, nodeLabel.leaseMs));
    const waitMs = confirmMs(leaseMs > 0 ? leaseMs : nodeLeaseMsDefault);
    this.#doubted.get(managerUrl)?.cancel();
    const look = (): void => {
      if (this.#setup.isStale())
        this.#doubted.set(managerUrl, this.#setup.clock.after(waitMs, look));
      else this.#isGone(managerUrl);
    };
    this.#doubted.set(managerUrl, this.#setup.clock.after(waitMs, look));
  }

  #isGone(managerUrl: string): void {
    this.#doubted.delete(managerUrl);
    this.#away.add(managerUrl);
    const [oldest] = this.#away;
    if (this.#away.size > awayMax && oldest !== undefined) this.#away.delete(oldest);
    this.#setup.log.warn('the lease of a node has ended', { managerUrl });
    this.#setup.onAway(managerUrl);
  }
}
