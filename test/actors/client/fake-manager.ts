// A manager as a client sees it: answers Requests as the test wants, holds what a monitor shows, and speaks.

import { create } from '@bufbuild/protobuf';
import { EmptySchema } from '@bufbuild/protobuf/wkt';
import { NsmError } from '../../../protocols/errors.ts';
import { timestampFromEpochMs } from '../../../protocols/nsm/expiry.ts';
import {
  type Connection,
  type ConnectionEvent,
  ConnectionEventSchema,
  ConnectionEventType,
  MonitorConnection,
  State,
} from '../../../protocols/nsm/gen/connection_pb.ts';
import { NetworkService } from '../../../protocols/nsm/gen/networkservice_pb.ts';
import { kernelMechanism } from '../../../protocols/nsm/kernel-mechanism.ts';
import { enterPath, leavePath, withSegment } from '../../../protocols/nsm/path.ts';
import {
  type Dialer,
  type Listening,
  type ServedService,
  serve,
} from '../../../protocols/ports/rpc.ts';
import { createMemoryNetwork } from '../../../transports/memory/memory-network.ts';
import { createGate } from '../../sandbox/gate.ts';
import type { ManualClock } from '../../sandbox/manual-clock.ts';

export const lifetimeMs = 600_000;

export const away = () => new NsmError('UNAVAILABLE', 'the Endpoint is away', { hop: 'forwarder' });

export class FakeManager {
  /** What it was asked, in its own view, with the time on the clock. */
  asked: { readonly atMs: number; readonly connection: Connection }[] = [];
  closed: Connection[] = [];
  /** Thrown by its next answers while set. */
  refusal: NsmError | undefined;
  /** Thrown where it says something about what is asked. */
  refusalOf: (asking: Connection) => NsmError | undefined = () => undefined;
  /** From each answer until it expires. */
  answersLiveMs = lifetimeMs;
  /** How many Requests it refuses from now on. */
  refusals = 0;
  /** The Endpoint for whoever names none. */
  picks = 'nse';
  /** What its monitor begins with. */
  held: Connection[] = [];
  /** How many times it shows nobody what it holds, from now on. */
  hiding = 0;
  /** One per subscriber of its monitor. */
  subscribers: ((event: ConnectionEvent) => void)[] = [];
  readonly gate = createGate();
  readonly #clock: ManualClock;
  readonly #network: ReturnType<typeof createMemoryNetwork>;
  #listening: Listening | undefined;

  constructor(clock: ManualClock) {
    this.#clock = clock;
    this.#network = createMemoryNetwork({ clock });
  }

  get dialer(): Dialer {
    return this.#network.dialer;
  }

  async start(): Promise<void> {
    const services = [this.#networkService(), this.#monitor()];
    this.#listening = await this.#network.listener.listen('memory:manager', services);
  }

  async stop(): Promise<void> {
    const closing = this.#listening?.close(0);
    await this.#clock.advance(1);
    await closing;
  }

  forget(): void {
    [this.asked, this.closed, this.subscribers] = [[], [], []];
  }

  /** Its own view of what it answered last. */
  view(change: Partial<Connection> = {}): Connection {
    const last = this.asked.at(-1)?.connection;
    if (last === undefined) throw new Error('the manager was not asked');
    return { ...last, ...chosen(last, this.picks), state: State.UP, ...change };
  }

  /** Tells every subscriber about the connection. */
  async say(
    change: Partial<Connection>,
    type: ConnectionEventType = ConnectionEventType.UPDATE,
  ): Promise<void> {
    for (const tell of this.subscribers) tell(eventOf(type, [this.view(change)]));
    await this.#clock.advance(0);
  }

  #networkService(): ServedService {
    return serve(NetworkService, {
      request: async ({ connection }) => {
        const own = enterPath(connection, 'nsmgr', () => 'manager-id');
        this.asked.push({ atMs: this.#clock.nowMs(), connection: own });
        await this.gate.pass();
        this.refusals -= 1;
        if (this.refusals >= 0) throw away();
        const refusal = this.refusal ?? this.refusalOf(own);
        if (refusal !== undefined) throw refusal;
        const expires = timestampFromEpochMs(this.#clock.epochMs() + this.answersLiveMs);
        const answer = withSegment({ ...own, state: State.UP, ...chosen(own, this.picks) }, 1, {
          expires,
        });
        return leavePath(answer, connection ?? own);
      },
      close: async (connection) => {
        this.closed.push(connection);
        if (this.refusal !== undefined) throw this.refusal;
        return create(EmptySchema);
      },
    });
  }

  #monitor(): ServedService {
    const subscribers = () => this.subscribers;
    const held = () => this.held;
    const hides = () => (this.hiding -= 1) >= 0;
    return serve(MonitorConnection, {
      async *monitorConnections(_, { signal }) {
        if (hides()) throw away();
        const waiting: ConnectionEvent[] = [];
        let wake: () => void = () => {};
        subscribers().push((event) => {
          waiting.push(event);
          wake();
        });
        signal.addEventListener('abort', () => wake());
        yield eventOf(ConnectionEventType.INITIAL_STATE_TRANSFER, held());
        while (!signal.aborted) {
          yield* waiting.splice(0);
          await new Promise<void>((resolve) => (wake = resolve));
        }
      },
    });
  }
}

/** The Endpoint that the manager picks, and the mechanism that it agrees on. */
function chosen(asking: Connection, picks: string): Partial<Connection> {
  const name = asking.networkServiceEndpointName;
  return {
    networkServiceEndpointName: name === '' ? picks : name,
    mechanism: kernelMechanism({ netnsUrl: 'inode://4/1', interfaceName: 'nsm-1' }),
  };
}

function eventOf(type: ConnectionEventType, connections: readonly Connection[]): ConnectionEvent {
  const event = create(ConnectionEventSchema, { type });
  for (const each of connections) event.connections[each.id] = each;
  return event;
}
