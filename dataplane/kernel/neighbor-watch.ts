// Keeps asking for the underlay neighbours of tunnels that do not answer. The kernel asks three times, once a second,
// and then only when the next packet comes; a wire would lie still for up to a second after its underlay is whole.
// Invariants: only neighbours that a tunnel of ours is sent through are asked for; each by one loop, which ends when
// it answers, when the last such tunnel is gone, or with the driver; no entry that says how to reach it is touched.

import {
  deleteNeighbor,
  type FoundRoute,
  getNeighbor,
  getRouteTo,
  parseNeighbor,
  parseRoute,
  resolveNeighbor,
} from '../../protocols/netlink/address.ts';
import { neighborState } from '../../protocols/netlink/constants.ts';
import { errno } from '../../protocols/netlink/errno.ts';
import { type IpAddress, parseIp } from '../../protocols/netlink/ip-address.ts';
import type { Clock, Timer } from '../../protocols/ports/clock.ts';
import type { VxlanEnd } from '../../protocols/ports/dataplane.ts';
import type { FailedNeighbor, Netlink } from '../../protocols/ports/netlink.ts';
import { run } from './run.ts';

export interface NeighborWatchSetup {
  readonly netlink: Netlink;
  readonly clock: Clock;
  readonly tunnels: () => Iterable<VxlanEnd>;
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
    const address = parseIp(neighbor.ip);
    if (!(await this.#isNeeded(neighbor))) return false;
    if (await isAnswering(netlink, neighbor.index, address)) return false;
    await askAnew(netlink, neighbor.index, address);
    return true;
  }

  async #isNeeded({ index, ip }: FailedNeighbor): Promise<boolean> {
    const { netlink, tunnels } = this.#setup;
    const remotes = new Set([...tunnels()].map(({ remoteIp }) => remoteIp));
    if (remotes.size === 0 || remotes.has(ip)) return remotes.has(ip);
    const routes = await routesTo(netlink, [...remotes]);
    return routes.some((route) => route.gateway === ip && route.index === index);
  }
}

const keyOf = ({ index, ip }: FailedNeighbor): string => `${index} ${ip}`;

async function routesTo(netlink: Netlink, ips: readonly string[]): Promise<readonly FoundRoute[]> {
  const requests = ips.map((ip) => ({
    message: getRouteTo(parseIp(ip)),
    what: `find the route to ${ip}`,
    tolerate: [errno.noSuchRoute, errno.networkUnreachable, errno.hostUnreachable, errno.invalid],
  }));
  const answers = await run(netlink, [{ protocol: 'route', requests }], budget);
  const messages = answers[0]?.flatMap((answer) => answer.messages) ?? [];
  return messages.flatMap((message) => parseRoute(message) ?? []);
}

/** Whether the kernel knows how to reach it, or may not ask. */
async function isAnswering(netlink: Netlink, index: number, address: IpAddress): Promise<boolean> {
  const request = {
    message: getNeighbor(index, address),
    what: 'read a neighbour of the underlay',
    tolerate: [errno.noEntry],
  };
  const answers = await run(netlink, [{ protocol: 'route', requests: [request] }], budget);
  const message = answers[0]?.[0]?.messages[0];
  const state = message === undefined ? undefined : parseNeighbor(message)?.state;
  if (state === undefined) return false;
  return (state & ~(neighborState.incomplete | neighborState.failed)) !== 0;
}

/** An entry that waits for its next question is given up for one that asks at once. */
async function askAnew(netlink: Netlink, index: number, address: IpAddress): Promise<void> {
  const requests = [
    {
      message: deleteNeighbor(index, address),
      what: 'give up an underlay neighbour that does not answer',
      tolerate: [errno.noEntry],
    },
    { message: resolveNeighbor(index, address), what: 'ask for a neighbour of the underlay' },
  ];
  await run(netlink, [{ protocol: 'route', requests }], budget);
}
