// Callers over mutual TLS, or over a bus, that say of themselves whatever a test wants: honest ones, thieves, and forgers of tokens.

import { create } from '@bufbuild/protobuf';
import {
  type Connection,
  ConnectionEventType,
  ConnectionSchema,
  MonitorConnection,
  MonitorScopeSelectorSchema,
} from '../../protocols/nsm/gen/connection_pb.ts';
import {
  NetworkService,
  NetworkServiceRequestSchema,
} from '../../protocols/nsm/gen/networkservice_pb.ts';
import { timestampFromEpochMs } from '../../protocols/nsm/expiry.ts';
import { kernelMechanism } from '../../protocols/nsm/kernel-mechanism.ts';
import { formatTokenExpiry } from '../../protocols/nsm/token-expiry.ts';
import { tokenExpiresHeader, tokenHeader } from '../../protocols/nsm/token-metadata.ts';
import type { Identity } from '../../protocols/ports/identity.ts';
import { silentLog } from '../../protocols/ports/log.ts';
import type { CallHeaders, Dialer, Headers } from '../../protocols/ports/rpc.ts';
import { createGrpc } from '../../transports/grpc/grpc.ts';
import { BusSeals } from '../../transports/nats/bus-seals.ts';
import { createNatsDialer } from '../../transports/nats/nats-dialer.ts';
import { systemClock, systemWallClock } from '../../transports/process/system-clock.ts';
import { signPathToken } from '../../transports/spiffe-ts/spiffe.ts';
import type { SecuredBus } from './secured-bus.ts';

/** Makes the metadata of a call to a peer of that SPIFFE ID. */
export type Says = (peerId: string | undefined) => Headers;

export const callTimeoutMs = 10_000;

export class Caller {
  readonly identity: Identity;
  readonly #dialer: Dialer;
  #says: Says;

  /** `secured`: the bus where the mesh meets; by default it is called over TLS. */
  static async of(identity: Identity, secured: SecuredBus | undefined): Promise<Caller> {
    const wallClock = systemWallClock;
    if (secured === undefined) {
      const tls = { identity, wallClock };
      return new Caller(
        identity,
        (callHeaders) => createGrpc({ clock: systemClock, tls, callHeaders }).dialer,
      );
    }
    const bus = await secured.connect(identity);
    const seals = new BusSeals({ identity, wallClock, log: silentLog });
    return new Caller(identity, (callHeaders) => {
      const dialer = createNatsDialer(bus, { seals, callHeaders });
      const close = async (): Promise<void> => {
        await dialer.close();
        await bus.close();
        seals.close();
      };
      return { dial: (url) => dialer.dial(url), close };
    });
  }

  private constructor(identity: Identity, dialerWith: (callHeaders: CallHeaders) => Dialer) {
    this.identity = identity;
    this.#says = this.#honest;
    this.#dialer = dialerWith({
      names: [tokenHeader, tokenExpiresHeader],
      make: (peer) => this.#says(peer?.spiffeId),
    });
  }

  get id(): string {
    return this.identity.current()?.svid.spiffeId ?? '';
  }

  /** From the next call on; without an argument the truth again. */
  say(says: Says = this.#honest): void {
    this.#says = says;
  }

  #honest: Says = (peerId) => saying(this.token(peerId));

  token(audience: string | undefined, lifetimeMs = 60_000): string {
    return this.identity.signPathToken(audience, lifetimeMs).token;
  }

  /** One in the name of somebody else, signed with the own key. */
  forgedToken(subject: string, audience: string | undefined): string {
    const { svid } = this.identity.current() ?? {};
    if (svid === undefined) throw new Error('no identity');
    const expiresAtMs = systemWallClock.epochMs() + 60_000;
    return signPathToken({ ...svid, spiffeId: subject }, { audience, expiresAtMs }).token;
  }

  dial(url: string) {
    return this.#dialer.dial(url);
  }

  request(
    url: string,
    connection: Connection,
    mechanismPreferences = [kernelMechanism({ netnsUrl: 'inode://4/1', interfaceName: 'nsm-1' })],
  ): Promise<Connection> {
    const request = create(NetworkServiceRequestSchema, { connection, mechanismPreferences });
    return this.dial(url).client(NetworkService).request(request, { timeoutMs: callTimeoutMs });
  }

  async close(url: string, connection: Connection): Promise<void> {
    await this.dial(url).client(NetworkService).close(connection, { timeoutMs: callTimeoutMs });
  }

  /** The connections that a monitor tells of at first. */
  async connections(url: string, segmentId = ''): Promise<readonly Connection[]> {
    const pathSegments = segmentId === '' ? [] : [{ id: segmentId }];
    const selector = create(MonitorScopeSelectorSchema, { pathSegments });
    const abort = new AbortController();
    const client = this.dial(url).client(MonitorConnection);
    try {
      const stream = client.monitorConnections(selector, { signal: abort.signal });
      for await (const event of stream) {
        if (event.type !== ConnectionEventType.INITIAL_STATE_TRANSFER) continue;
        return Object.values(event.connections);
      }
      return [];
    } finally {
      abort.abort();
    }
  }

  async end(): Promise<void> {
    await this.#dialer.close();
  }
}

/** Metadata of that token, with an end that nobody has reason to doubt. */
export function saying(token: string): Headers {
  const ends = timestampFromEpochMs(systemWallClock.epochMs() + 60_000);
  return { [tokenHeader]: token, [tokenExpiresHeader]: formatTokenExpiry(ends) };
}

export interface Segment {
  readonly name: string;
  readonly id: string;
  readonly token?: string;
}

/** As its caller sends it who stands on the last of `before`. */
export function connectionOf(
  before: readonly Segment[],
  behind: readonly Segment[] = [],
): Connection {
  const index = before.length - 1;
  const expires = timestampFromEpochMs(systemWallClock.epochMs() + 60_000);
  return create(ConnectionSchema, {
    id: before[index]?.id ?? '',
    networkService: 'service',
    path: {
      index,
      pathSegments: [...before, ...behind].map((segment) => ({ ...segment, expires })),
    },
  });
}
