// A network between the processes of a simulated mesh, with the manners of the bus: what is lost ends by deadline,
// what comes twice or late is recognised by its callee, streams end by silence, and nobody who listens is said so.
// What happens to each message is decided by `Links`; time and dice come in, so that a seed replays a whole mesh.
// Invariant: nothing of a process that has ended is heard of, and nothing reaches it, in whatever it was stopped.

import { NsmError } from '../../protocols/errors.ts';
import { createOperationGuard } from '../../protocols/messages/operation-guard.ts';
import { createChannel } from '../../protocols/messages/rpc-client.ts';
import {
  CallsInFlight,
  listenerStopped,
  servedMethods,
} from '../../protocols/messages/served-call.ts';
import type { Clock } from '../../protocols/ports/clock.ts';
import type { Random } from '../../protocols/ports/random.ts';
import type {
  Channel,
  Dialer,
  Listener,
  Listening,
  ServedService,
} from '../../protocols/ports/rpc.ts';
import {
  beatMs,
  type Ending,
  type Links,
  type NetworkCore,
  silentAfterMs,
  type SimulatedHost,
  type SimulatedProcess,
} from './simulated-process.ts';
import { startSimulatedStream } from './simulated-stream.ts';
import { callSimulatedUnary } from './simulated-unary.ts';

export interface SimulatedNetworkOptions {
  /** Of the whole network; processes have clocks of their own. */
  readonly clock: Clock;
  readonly random: Random;
  readonly links: Links;
  readonly onEvent?: (event: string) => void;
}

export interface Attached {
  readonly dialer: Dialer;
  readonly listener: Listener;
  /** The process is gone at once, whatever it was doing. */
  kill(ending: Ending): void;
}

export interface SimulatedNetwork {
  attach(process: Omit<SimulatedProcess, 'isAlive'>): Attached;
  /** To be told whenever a link was cut: streams across it end once it has been silent for too long. */
  linksChanged(): void;
  /** Calls and streams under way. */
  readonly flights: number;
}

const callsMax = 10_000;

export function createSimulatedNetwork(options: SimulatedNetworkOptions): SimulatedNetwork {
  const { clock, random, links } = options;
  let ids = 0;
  const core: NetworkCore = {
    clock,
    random,
    links,
    hosts: new Map(),
    places: new Map(),
    flights: new Set(),
    onEvent: options.onEvent ?? (() => {}),
    nextId: () => ++ids,
    upTo: (ms) => (ms * random.integer(10_000)) / 10_000,
  };
  return {
    attach: (described) => {
      const process: SimulatedProcess = { ...described, isAlive: true };
      return {
        dialer: createDialer(core, process),
        listener: { listen: (url, services) => listen(core, process, url, services) },
        kill: (ending) => kill(core, process, ending),
      };
    },
    linksChanged: () => {
      clock.after(silentAfterMs + core.upTo(beatMs), () => {
        for (const flight of core.flights) flight.checkSilence();
      });
    },
    get flights() {
      return core.flights.size;
    },
  };
}

function createDialer(core: NetworkCore, process: SimulatedProcess): Dialer {
  const channels = new Map<string, Channel>();
  return {
    dial: (url) => {
      let channel = channels.get(url);
      if (channel === undefined) {
        channel = createChannel(url, {
          unary: (method, request, options) =>
            callSimulatedUnary({ core, process, url }, method, request, options),
          stream: (method, requests, options) =>
            startSimulatedStream({ core, process, url }, method, requests, options),
        });
        channels.set(url, channel);
      }
      return channel;
    },
    close: () => {
      const error = new NsmError('UNAVAILABLE', 'the dialer is closed', { rule: 'dialer' });
      for (const flight of core.flights) {
        if (flight.caller === process) flight.onDialerClosed(error);
      }
      return Promise.resolve();
    },
  };
}

async function listen(
  core: NetworkCore,
  process: SimulatedProcess,
  url: string,
  services: readonly ServedService[],
): Promise<Listening> {
  if (core.hosts.has(url)) {
    throw new NsmError('ALREADY_EXISTS', 'the URL is taken', { rule: 'listener', found: url });
  }
  const host: SimulatedHost = {
    url,
    process,
    methods: servedMethods(services),
    calls: new CallsInFlight(callsMax),
    byId: new Map(),
    guard: createOperationGuard({ clock: process.clock }),
    isClosing: false,
  };
  if (process.isAlive) {
    core.hosts.set(url, host);
    core.places.set(url, process.place);
  }
  return {
    url,
    close: async (graceMs) => {
      host.isClosing = true;
      await host.calls.drain(process.clock, graceMs, listenerStopped(url));
      if (core.hosts.get(url) === host) core.hosts.delete(url);
    },
  };
}

function kill(core: NetworkCore, process: SimulatedProcess, ending: Ending): void {
  process.isAlive = false;
  for (const [url, host] of core.hosts) if (host.process === process) core.hosts.delete(url);
  for (const flight of core.flights) {
    if (flight.caller === process) flight.onCallerEnded(ending);
    else if (flight.callee() === process) flight.onCalleeEnded(ending);
  }
}
