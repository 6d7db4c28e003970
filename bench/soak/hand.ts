// A connection by hand: Requests, refreshes, reselects and Closes one at a time, from a namespace of its own, with
// nobody behind it who heals. Invariant: a connection whose Request had no answer is closed before the next begins,
// as a client of NSM does.

import { create } from '@bufbuild/protobuf';
import type { MeshNode } from '../../bin/demo/mesh.ts';
import { recoverConnection } from '../../actors/client/recover.ts';
import type { Platform } from '../../bin/roles/platform.ts';
import { timestampFromEpochMs } from '../../protocols/nsm/expiry.ts';
import {
  type Connection,
  ConnectionSchema,
  type Mechanism,
  State,
} from '../../protocols/nsm/gen/connection_pb.ts';
import {
  NetworkService,
  NetworkServiceRequestSchema,
} from '../../protocols/nsm/gen/networkservice_pb.ts';
import { kernelMechanism } from '../../protocols/nsm/kernel-mechanism.ts';
import { enterPath, withSegment } from '../../protocols/nsm/path.ts';
import type { NetworkNamespace } from '../../transports/netlink/network-namespace.ts';

export interface HandOptions {
  readonly name: string;
  readonly node: MeshNode;
  /** The manager's socket. */
  readonly url: string;
  readonly platform: Platform;
  readonly lifetimeMs: number;
  /** 5 s by default. */
  readonly requestTimeoutMs?: number;
  readonly namespace: () => NetworkNamespace;
}

const interfaceName = 'nsm-1';
const requestTimeoutMsDefault = 5_000;

export class Hand {
  readonly name: string;
  readonly #options: HandOptions;
  #namespace: NetworkNamespace;
  #made = 0;
  /** Asked for, and not closed yet. */
  #asked: Connection | undefined;
  #known: Connection | undefined;
  /** A Close without an answer may have been heard: nothing but a Close follows. */
  #leaving: Connection | undefined;
  #triedMs = 0;
  #answeredMs = 0;

  constructor(options: HandOptions) {
    this.name = options.name;
    this.#options = options;
    this.#namespace = options.namespace();
  }

  get namespace(): NetworkNamespace {
    return this.#namespace;
  }

  get connection(): Connection | undefined {
    return this.#known;
  }

  /** Nobody has refreshed it for a third of its life; tried again after as many seconds as a Request may take. */
  get isDue(): boolean {
    const { lifetimeMs } = this.#options;
    const isTired = performance.now() - this.#triedMs > this.#requestTimeoutMs;
    return this.#known !== undefined && this.#ageMs > lifetimeMs / 3 && isTired;
  }

  /** Hops may end it from two thirds of its life on. */
  get mayBeOver(): boolean {
    return this.#known !== undefined && this.#ageMs > (this.#options.lifetimeMs * 2) / 3;
  }

  get #requestTimeoutMs(): number {
    return this.#options.requestTimeoutMs ?? requestTimeoutMsDefault;
  }

  get #ageMs(): number {
    return performance.now() - this.#answeredMs;
  }

  get isFree(): boolean {
    return this.#asked === undefined;
  }

  async create(networkService: string): Promise<void> {
    const id = `${this.name}-${(this.#made += 1)}`;
    const first = create(ConnectionSchema, { id, networkService });
    this.#asked = enterPath(first, this.name, () => id);
    this.#known = await this.#request(this.#asked);
  }

  async refresh(): Promise<void> {
    if (this.#known !== undefined) this.#known = await this.#request(this.#known);
  }

  async reselect(): Promise<void> {
    if (this.#known === undefined) return;
    const { mechanism: _, ...rest } = this.#known;
    const asked = {
      ...rest,
      networkServiceEndpointName: '',
      state: State.RESELECT_REQUESTED,
    };
    this.#known = await this.#request(asked);
  }

  async close(): Promise<void> {
    this.#leaving ??= this.#known ?? (await this.#recovered());
    this.#known = undefined;
    if (this.#leaving !== undefined) {
      await this.#service.close(this.#leaving, { timeoutMs: this.#requestTimeoutMs });
    }
    this.#forget();
  }

  /** The namespace ends, and what was in it; nobody says a word to the mesh. */
  vanish(): void {
    this.#namespace.close();
    this.#namespace = this.#options.namespace();
    this.#forget();
  }

  /** What a Request without an answer has made. */
  #recovered(): Promise<Connection | undefined> {
    const { name, url, platform } = this.#options;
    if (this.#asked === undefined) return Promise.resolve(undefined);
    const { id, networkService } = this.#asked;
    const setup = {
      name,
      networkService,
      connectionId: id,
      connectTo: url,
      dialer: platform.dialer,
      preferences: this.#preferences(),
    };
    return recoverConnection(setup, platform, AbortSignal.timeout(this.#requestTimeoutMs));
  }

  #preferences(): Mechanism[] {
    return [kernelMechanism({ netnsUrl: this.#namespace.inodeUrl, interfaceName })];
  }

  #forget(): void {
    this.#leaving = undefined;
    this.#known = undefined;
    this.#asked = undefined;
  }

  get #service() {
    return this.#options.platform.dialer.dial(this.#options.url).client(NetworkService);
  }

  async #request(asked: Connection): Promise<Connection> {
    const { platform, lifetimeMs } = this.#options;
    const request = create(NetworkServiceRequestSchema);
    request.connection = withSegment(asked, 0, {
      expires: timestampFromEpochMs(platform.wallClock.epochMs() + lifetimeMs),
    });
    request.mechanismPreferences = this.#preferences();
    this.#triedMs = performance.now();
    const answer = await this.#service.request(request, { timeoutMs: this.#requestTimeoutMs });
    this.#answeredMs = this.#triedMs;
    return answer;
  }
}
