// Sockets of Endpoints that register with `inode://` instead of a path, as those of the reference do on a unix socket:
// the descriptor comes with the registration and is kept for its life. Behind this door the Endpoint has a URL that can
// be dialled; it finds its own again in the answer.

import type { NetworkServiceEndpoint } from '../../protocols/nsm/gen/registry_pb.ts';
import { NetworkServiceEndpointRegistry } from '../../protocols/nsm/gen/registry_pb.ts';
import { NsmError } from '../../protocols/errors.ts';
import { timestampToEpochMs } from '../../protocols/nsm/expiry.ts';
import type { Clock, Timer, WallClock } from '../../protocols/ports/clock.ts';
import type { CallContext, ServedService, ServiceHandler } from '../../protocols/ports/rpc.ts';
import { serve } from '../../protocols/ports/rpc.ts';
import type { HeldDescriptors } from './held-descriptors.ts';

export interface RegisteredFilesSetup {
  readonly held: HeldDescriptors;
  readonly clock: Clock;
  readonly wallClock: WallClock;
}

type Registry = ServiceHandler<typeof NetworkServiceEndpointRegistry>;

interface Registered {
  readonly url: string;
  readonly release: () => void;
  readonly expiry: Timer;
}

/** A peer sends it ahead of the message. */
const lateMs = 1_000;
/** A registration without an expiry ends with its Unregister. */
const registrationsMax = 10_000;
/** Calls that are under way when a registration expires still go to its socket. */
const afterExpiryMs = 60_000;

export function withRegisteredSockets(
  services: readonly ServedService[],
  setup: RegisteredFilesSetup,
): readonly ServedService[] {
  return services.map((service) =>
    service.descriptor === NetworkServiceEndpointRegistry
      ? new RegisteredSockets(service.handler as unknown as Registry, setup).service
      : service,
  );
}

class RegisteredSockets {
  readonly service: ServedService;
  readonly #handler: Registry;
  readonly #setup: RegisteredFilesSetup;
  /** By the name that the Endpoint goes by from its first answer on. */
  readonly #registered = new Map<string, Registered>();

  constructor(handler: Registry, setup: RegisteredFilesSetup) {
    this.#handler = handler;
    this.#setup = setup;
    this.service = serve(NetworkServiceEndpointRegistry, {
      register: (endpoint, call) =>
        isInode(endpoint) ? this.#register(endpoint, call) : handler.register(endpoint, call),
      find: (query, call) => handler.find(query, call),
      unregister: async (endpoint, call) => {
        const { url } = this.#registered.get(endpoint.name) ?? {};
        const answer = await handler.unregister(
          url !== undefined && isInode(endpoint)
            ? { ...endpoint, url: this.#dialled(url) }
            : endpoint,
          call,
        );
        this.#forget(endpoint.name);
        return answer;
      },
    });
  }

  async #register(
    endpoint: NetworkServiceEndpoint,
    call: CallContext,
  ): Promise<NetworkServiceEndpoint> {
    const { url } = endpoint;
    const release = await this.#receive(url, call);
    try {
      const answer = await this.#handler.register({ ...endpoint, url: this.#dialled(url) }, call);
      this.#keep(answer, url, release);
      return { ...answer, url };
    } catch (error) {
      release();
      throw error;
    }
  }

  async #receive(url: string, call: CallContext): Promise<() => void> {
    const { held, clock } = this.#setup;
    const timeoutMs = Math.min(lateMs, call.deadlineMs - clock.nowMs());
    const descriptor = await call.peer.descriptors?.awaited(url, timeoutMs);
    if (descriptor !== undefined) return held.adopt(url, descriptor);
    const again = held.open(url);
    if (again !== undefined) return held.adopt(url, again);
    throw new NsmError('INVALID_ARGUMENT', 'the socket of the Endpoint did not come with it', {
      rule: 'network_service_endpoint.url',
      expected:
        'a descriptor of it on the same unix socket, or a URL that can be dialled from here',
      found: url,
    });
  }

  #keep({ name, expirationTime }: NetworkServiceEndpoint, url: string, release: () => void): void {
    const { clock, wallClock } = this.#setup;
    const leftMs =
      expirationTime === undefined
        ? Infinity
        : timestampToEpochMs(expirationTime) - wallClock.epochMs() + afterExpiryMs;
    this.#forget(name);
    const [oldest] = this.#registered.keys();
    if (this.#registered.size >= registrationsMax && oldest !== undefined) this.#forget(oldest);
    const expiry =
      leftMs === Infinity
        ? { cancel: () => {} }
        : clock.after(Math.max(0, leftMs), () => this.#forget(name));
    this.#registered.set(name, { url, release, expiry });
  }

  #forget(name: string): void {
    const known = this.#registered.get(name);
    if (known === undefined) return;
    known.expiry.cancel();
    this.#registered.delete(name);
    known.release();
  }

  #dialled(url: string): string {
    return `unix://${this.#setup.held.pathOf(url) ?? ''}`;
  }
}

function isInode({ url }: NetworkServiceEndpoint): boolean {
  return url.startsWith('inode://');
}
