// One simulated client and its interface, watched through its whole life. It owns the promises that are made to a
// client: once it has its interface it keeps it, the address goes with the Endpoint, and it is never told of an
// Endpoint that it did not ask for. A client is a pod: a namespace that outlives its process, until it is destroyed.

import type { ClientStatus } from '../../actors/client/client-setup.ts';
import { composeNsc } from '../../bin/roles/compose-nsc.ts';
import { describeError } from '../../protocols/errors.ts';
import type { Connection } from '../../protocols/nsm/gen/connection_pb.ts';
import type { SimulatedInterface } from '../../dataplane/simulated/simulated-world.ts';
import type { Ground } from './ground.ts';
import type { Life } from './life.ts';
import type { Node } from './mesh.ts';
import { Part } from './part.ts';
import { type Fate, simulatedEchoes } from '../sandbox/simulated-echoes.ts';
import type { AddressPair } from '../../protocols/nsm/probed-wire.ts';
import type { Liveness } from '../../protocols/ports/liveness.ts';
import { createEchoJudge } from '../../actors/client/echo-judge.ts';
import { createEchoLiveness } from '../../actors/client/echo-liveness.ts';

export const requestTimeoutMs = 15_000;
/** Rarer than real clients ask, since each echo costs as much as any event. */
const echoes = { intervalMs: 250, missedMax: 4, firstAnswerMs: 1_000 };
/** A try ends by its deadline, after the recovery's; then comes the longest pause. */
const quietMsMax = requestTimeoutMs + 2_000 + 5_000 + 5_000;

/** Until then a Request that it has given up may still be on its way. */
const lateMsMax = 25_000;

export interface ClientOptions {
  readonly name: string;
  readonly service: string;
  readonly node: Node;
  readonly lifetimeMs: number;
  /** Names of the Endpoints of that service, whichever were ever started. */
  /** Whether an echo to its wire's other end is answered; absent: it does not ask. */
  readonly fateOf?: (pair: AddressPair) => Fate;
  readonly endpointsOf: (service: string) => ReadonlySet<string>;
}

export class SimulatedClient {
  readonly name: string;
  readonly node: Node;
  readonly service: string;
  /** A new one after each reboot of its machine. */
  netns: string;
  readonly interfaceName = 'nsm-1';
  readonly part: Part;
  /** It has asked, and has not been told to close. */
  wantsWire = false;
  isPodAlive = true;
  last: ClientStatus | undefined;
  established: Connection | undefined;
  establishedAtMs = Number.NEGATIVE_INFINITY;
  statusAtMs = 0;
  /** Since when it wants no wire any more. */
  #leftAtMs = Number.POSITIVE_INFINITY;
  #first: SimulatedInterface | undefined;
  readonly #ground: Ground;
  readonly #options: ClientOptions;

  constructor(ground: Ground, options: ClientOptions) {
    this.#ground = ground;
    this.#options = options;
    this.name = options.name;
    this.node = options.node;
    this.service = options.service;
    this.netns = `inode://4/${1_000 + Number(options.name.slice(4))}`;
    this.part = new Part(ground, {
      name: options.name,
      place: options.node.name,
      compose: async (life) => this.#compose(life),
    });
  }

  start(): void {
    this.wantsWire = true;
    this.#leftAtMs = Number.POSITIVE_INFINITY;
    this.part.start();
  }

  /** The workload ends as it should: it closes its connection. */
  close(onStopped: () => void): void {
    this.wantsWire = false;
    // What it gives back may be given to others.
    this.#first = undefined;
    this.established = undefined;
    this.#leftAtMs = this.#ground.time.nowMs();
    this.part.stop(onStopped);
  }

  onReboot(): void {
    this.netns = `${this.netns}0`;
    this.#first = undefined;
    this.established = undefined;
  }

  destroyPod(): void {
    this.wantsWire = false;
    this.isPodAlive = false;
    this.part.kill('reset');
    this.node.world.removeNamespace(this.netns);
  }

  /** Its wire may have ended by its expiry: nobody has refreshed it for that long. */
  get mayHaveExpired(): boolean {
    const { time } = this.#ground;
    return time.nowMs() - this.establishedAtMs > this.#options.lifetimeMs / 3;
  }

  get interface(): SimulatedInterface | undefined {
    return this.node.world.interfaceIn(this.netns, this.interfaceName);
  }

  onInterfaceMade(): void {
    const { time } = this.#ground;
    if (time.nowMs() - this.#leftAtMs < lateMsMax) return;
    // A forwarder that cannot ask makes it for the same workload, and takes it away when it can.
    if (!this.node.manager.isServing) return;
    const what = `${this.name} left at ${this.#leftAtMs}`;
    this.#ground.fail('nothing is made for a client that has left', what);
  }

  onInterfaceRemoved(found: SimulatedInterface): void {
    if (this.#first?.index !== found.index) return;
    if (this.wantsWire && this.isPodAlive && !this.mayHaveExpired) {
      this.#ground.fail('no healthy wire is removed', `${this.name} lost interface ${found.index}`);
    }
    this.#first = undefined;
  }

  onInterfaceChanged(before: SimulatedInterface, after: SimulatedInterface): void {
    const isSame =
      before.index === after.index &&
      before.name === after.name &&
      before.macAddress === after.macAddress;
    if (!isSame && this.#first !== undefined) {
      this.#ground.fail(
        'a client keeps its interface',
        `${this.name}: ${JSON.stringify([before, after])}`,
      );
    }
  }

  /** It says something of itself as often as it promises. */
  checkAlive(): void {
    const { time } = this.#ground;
    if (!this.part.isRunning || this.last?.phase === 'established' || !this.wantsWire) return;
    if (time.nowMs() - this.statusAtMs > quietMsMax) {
      this.#ground.fail(
        'a request is answered by its deadline',
        `${this.name} waits since ${this.statusAtMs}`,
      );
    }
  }

  #compose(life: Life) {
    // A dead process says nothing: each life has its own time to speak.
    this.statusAtMs = this.#ground.time.nowMs();
    return composeNsc(life.platform, {
      name: this.name,
      connectTo: this.node.managerUrl,
      services: [
        {
          mechanismType: 'KERNEL',
          networkService: this.service,
          interfaceName: this.interfaceName,
          labels: {},
        },
      ],
      labels: {},
      requestTimeoutMs,
      maxTokenLifetimeMs: this.#options.lifetimeMs,
      netns: this.netns,
      ...this.#liveness(life),
      onStatus: (_, __, status) => {
        if (life.isAlive) this.#onStatus(status);
      },
    });
  }

  #liveness({ clock }: Life): { readonly liveness?: Liveness } {
    const { fateOf } = this.#options;
    if (fateOf === undefined) return {};
    const liveness = createEchoLiveness({
      clock,
      open: simulatedEchoes(clock, fateOf).open,
      confirmMsMax: 500,
      judge: (startMs) => createEchoJudge(echoes, startMs),
    });
    return { liveness };
  }

  #onStatus(status: ClientStatus): void {
    const { trace, time } = this.#ground;
    this.last = status;
    this.statusAtMs = time.nowMs();
    const error =
      'lastError' in status && status.lastError !== undefined ? status.lastError : undefined;
    trace.add(
      `${this.name} is ${status.phase}${error === undefined ? '' : ` ${describeError(error)}`}`,
    );
    if (status.phase === 'established') this.#onEstablished(status.connection);
  }

  #onEstablished(connection: Connection): void {
    const { time, trace } = this.#ground;
    const endpoint = connection.networkServiceEndpointName;
    const [address] = connection.context?.ipContext?.srcIpAddrs ?? [];
    trace.add(`${this.name} has ${address} from ${endpoint}`);
    if (!this.#options.endpointsOf(this.service).has(endpoint)) {
      this.#ground.fail('an Endpoint that was asked for', `${this.name} got ${endpoint}`);
    }
    this.#checkAddress(endpoint, address);
    this.established = connection;
    this.establishedAtMs = time.nowMs();
    this.#checkInterface();
  }

  #checkAddress(endpoint: string, address: string | undefined): void {
    const before = this.established;
    const [had] = before?.context?.ipContext?.srcIpAddrs ?? [];
    if (before?.networkServiceEndpointName !== endpoint || this.mayHaveExpired) return;
    if (had === address) return;
    const what = `${this.name}: ${had}, then ${address}`;
    this.#ground.fail('the same client gets the same address', what);
  }

  #checkInterface(): void {
    const found = this.interface;
    if (found === undefined) {
      this.#ground.fail('an established client has its interface', this.name);
      return;
    }
    if (this.#first !== undefined && this.#first.index !== found.index) {
      const what = `${this.name}: index ${this.#first.index}, then ${found.index}`;
      this.#ground.fail('a client keeps its interface', what);
    }
    this.#first ??= found;
  }
}
