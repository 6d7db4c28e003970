// Keeps asking for the underlay neighbours of tunnels that do not answer. The kernel asks three times, once a second,
// and then only when the next packet comes; a wire would lie still for up to a second after its underlay is whole.
// Once it answers, what the workloads behind those tunnels have given up is asked for again as well.
// Invariants: only neighbours that a tunnel of ours is sent through are asked for; each by one loop, which ends when
// it answers, when the last such tunnel is gone, or with the driver; no entry that says how to reach it is touched.

import { getNeighbor, parseNeighbor } from '../../protocols/netlink/address.ts';
import { neighborState } from '../../protocols/netlink/constants.ts';
import { errno } from '../../protocols/netlink/errno.ts';
import { parseIp } from '../../protocols/netlink/ip-address.ts';
import type { Clock, Timer } from '../../protocols/ports/clock.ts';
import type { FailedNeighbor, Netlink } from '../../protocols/ports/netlink.ts';
import { run } from './run.ts';
import { routesTo } from './underlay-route.ts';
import { askAnew, wakeWorkload } from './wake-workload.ts';
import type { Tunnel } from './wire-table.ts';

export interface NeighborWatchSetup {
  readonly netlink: Netlink;
  readonly clock: Clock;
  readonly tunnels: () => Iterable<Tunnel>;
}

export interface NeighborWatch {
  onFailed(neighbor: FailedNeighbor): void;
  close(): void;
}

/** Between two questions at first, and when it has been silent for `patientAfter` of them. */
const intervalMs = 200;
const patientIntervalMs = 1_000;
const patientAfter = 600;
/** Neighbours at a time; of more, the kernel alone asks. */
const askedMax = 256;
const budget = { timeoutMs: 5_000 };

export function createNeighborWatch(setup: NeighborWatchSetup): NeighborWatch {
  return new Watch(setup);
}

class Watch implements NeighborWatch {
  readonly #setup: NeighborWatchSetup;
  /** What waits between two questions, by device and address; undefined while one is being asked. */
  readonly #asked = new Map<string, Timer | undefined>();
  #isClosed = false;

  constructor(setup: NeighborWatchSetup) {
    this.#setup = setup;
  }

  onFailed(neighbor: FailedNeighbor): void {
    if (this.#isClosed || this.#asked.size >= askedMax) return;
    if (this.#asked.has(keyOf(neighbor))) return;
    void this.#ask(neighbor, 1);
  }

  close(): void {
    this.#isClosed = true;
    for (const timer of this.#asked.values()) timer?.cancel();
    this.#asked.clear();
  }

  async #ask(neighbor: FailedNeighbor, question: number): Promise<void> {
    const key = keyOf(neighbor);
    this.#asked.set(key, undefined);
    // Where the device is gone there is nobody to ask.
    const isSilent = await this.#askOnce(neighbor).catch(() => false);
    if (this.#isClosed) return;
    if (!isSilent) {
      this.#asked.delete(key);
      return;
    }
    const pauseMs = question < patientAfter ? intervalMs : patientIntervalMs;
    const next = (): void => void this.#ask(neighbor, question + 1);
    this.#asked.set(key, this.#setup.clock.after(pauseMs, next));
  }

  /** False where it need not be asked any more. */
  async #askOnce(neighbor: FailedNeighbor): Promise<boolean> {
    const { netlink } = this.#setup;
    const tunnels = await this.#through(neighbor);
    if (tunnels.length === 0) return false;
    if (await isAnswering(netlink, neighbor)) {
      await this.#wake(tunnels);
      return false;
    }
    await run(netlink, [{ protocol: 'route', requests: askAnew(neighbor) }], budget);
    return true;
  }

  /** The tunnels that are sent through that neighbour. */
  async #through({ index, ip }: FailedNeighbor): Promise<readonly Tunnel[]> {
    const all = [...this.#setup.tunnels()];
    const direct = all.filter(({ end }) => end.remoteIp === ip);
    if (direct.length > 0 || all.length === 0) return direct;
    const remotes = [...new Set(all.map(({ end }) => end.remoteIp))];
    const routes = await routesTo(this.#setup.netlink, remotes, budget);
    const behind = remotes.filter((_, at) => {
      const route = routes[at];
      return route?.gateway === ip && route.index === index;
    });
    return all.filter(({ end }) => behind.includes(end.remoteIp));
  }

  async #wake(tunnels: readonly Tunnel[]): Promise<void> {
    for (const { workload } of tunnels) {
      if (workload === undefined || this.#isClosed) continue;
      // A workload that is just ending needs nothing.
      await wakeWorkload(this.#setup.netlink, workload, budget).catch(() => {});
    }
  }
}

const keyOf = ({ index, ip }: FailedNeighbor): string => `${index} ${ip}`;

/** Whether the kernel knows how to reach it, or may not ask. */
async function isAnswering(netlink: Netlink, { index, ip }: FailedNeighbor): Promise<boolean> {
  const request = {
    message: getNeighbor(index, parseIp(ip)),
    what: 'read a neighbour of the underlay',
    tolerate: [errno.noEntry],
  };
  const answers = await run(netlink, [{ protocol: 'route', requests: [request] }], budget);
  const message = answers[0]?.[0]?.messages[0];
  const state = message === undefined ? undefined : parseNeighbor(message)?.state;
  if (state === undefined) return false;
  return (state & ~(neighborState.incomplete | neighborState.failed)) !== 0;
}
