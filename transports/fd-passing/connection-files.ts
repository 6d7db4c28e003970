// Files of NetworkService messages: each mechanism whose `inodeURL` says `inode://` has its descriptor travel with the
// message, hop by hop. Messages are left as they are, so a caller finds in the answer what it had sent.

import type { DescService } from '@bufbuild/protobuf';
import { closeSync } from 'node:fs';
import type { Connection, Mechanism } from '../../protocols/nsm/gen/connection_pb.ts';
import { NetworkService } from '../../protocols/nsm/gen/networkservice_pb.ts';
import { NetworkServiceEndpointRegistry } from '../../protocols/nsm/gen/registry_pb.ts';
import { inodeUrlsOf } from '../../protocols/nsm/mechanism.ts';
import type { Clock, Timer } from '../../protocols/ports/clock.ts';
import type { PeerDescriptors } from '../../protocols/ports/descriptors.ts';
import type {
  CallContext,
  Channel,
  Dialer,
  ServedService,
  ServiceClient,
  ServiceHandler,
  UnaryOptions,
} from '../../protocols/ports/rpc.ts';
import { serve } from '../../protocols/ports/rpc.ts';
import { socketPassingClient } from './found-sockets.ts';
import type { HeldDescriptors } from './held-descriptors.ts';
import type { KeptSocketsSetup } from './kept-sockets.ts';
import { KeptSockets } from './kept-sockets.ts';

/** Files of one message; those beyond come without, since each costs a look. */
const filesMax = 8;

function filesOf(mechanisms: readonly (Mechanism | undefined)[]): readonly string[] {
  return inodeUrlsOf(mechanisms).slice(0, filesMax);
}

/** How long what came with an answer is kept for whoever called. */
const answeredMs = 30_000;

/** The services with each file of a call received before its handler runs, and those of its answer sent. */
export function withReceivedFiles(
  services: readonly ServedService[],
  held: HeldDescriptors,
): readonly ServedService[] {
  return services.map((service) =>
    service.descriptor === NetworkService
      ? receivingService(service.handler as unknown as ServiceHandler<typeof NetworkService>, held)
      : service,
  );
}

function receivingService(
  handler: ServiceHandler<typeof NetworkService>,
  held: HeldDescriptors,
): ServedService {
  return serve(NetworkService, {
    request: (message, context) => {
      const { connection, mechanismPreferences } = message;
      const urls = filesOf([connection?.mechanism, ...mechanismPreferences]);
      return withFiles(held, { urls, context }, async () => {
        const answer = await handler.request(message, context);
        sendAnswered(held, context.peer.descriptors, answer, urls);
        return answer;
      });
    },
    close: (message, context) => {
      const urls = filesOf([message.mechanism]);
      return withFiles(held, { urls, context }, () => handler.close(message, context));
    },
  });
}

/** Calls at once, so that calls keep their order of arrival. Whoever needs a file that did not come says so. */
function withFiles<Answer>(
  held: HeldDescriptors,
  { urls, context }: { readonly urls: readonly string[]; readonly context: CallContext },
  handle: () => Promise<Answer>,
): Promise<Answer> {
  const { descriptors } = context.peer;
  if (descriptors === undefined || urls.length === 0) return handle();
  const releases = urls.flatMap((url) => {
    const descriptor = descriptors.take(url);
    return descriptor === undefined ? [] : held.adopt(url, descriptor);
  });
  return handle().finally(() => releases.forEach((release) => release()));
}

/** What the caller named itself it has. */
function sendAnswered(
  held: HeldDescriptors,
  descriptors: PeerDescriptors | undefined,
  answer: Connection,
  known: readonly string[],
): void {
  if (descriptors === undefined) return;
  for (const url of inodeUrlsOf([answer.mechanism])) {
    const descriptor = known.includes(url) ? undefined : held.open(url);
    if (descriptor === undefined) continue;
    try {
      descriptors.send(descriptor);
    } finally {
      closeSync(descriptor);
    }
  }
}

/**
 * The dialer with the files of each call sent along on unix sockets, and those of its answer received; Endpoints found
 * there can be dialled.
 */
export function withSentFiles(dialer: Dialer, setup: KeptSocketsSetup): Dialer {
  const channels = new WeakMap<Channel, Channel>();
  const answered = new AnsweredFiles(setup.held, setup.clock);
  const sockets = new KeptSockets(setup);
  return {
    dial: (url) => {
      const channel = dialer.dial(url);
      if (!url.startsWith('unix:')) return channel;
      let passing = channels.get(channel);
      if (passing === undefined) {
        const clients = new Map<DescService, unknown>([
          [NetworkService, sendingClient(channel.client(NetworkService), setup.held, answered)],
          [
            NetworkServiceEndpointRegistry,
            socketPassingClient(channel.client(NetworkServiceEndpointRegistry), sockets),
          ],
        ]);
        passing = {
          url: channel.url,
          client: (service) =>
            (clients.get(service) as ServiceClient<typeof service> | undefined) ??
            channel.client(service),
        };
        channels.set(channel, passing);
      }
      return passing;
    },
    close: async () => {
      await dialer.close();
      answered.close();
      sockets.close();
    },
  };
}

function sendingClient(
  raw: ServiceClient<typeof NetworkService>,
  held: HeldDescriptors,
  answered: AnsweredFiles,
): ServiceClient<typeof NetworkService> {
  return {
    request: async (message, options) => {
      const { connection, mechanismPreferences } = message;
      const mechanisms = [connection?.mechanism, ...mechanismPreferences];
      let descriptors: PeerDescriptors | undefined;
      const onPeer: UnaryOptions['onPeer'] = (peer) => {
        ({ descriptors } = peer);
        options.onPeer?.(peer);
      };
      const answer = await sendWith(held, mechanisms, (files) =>
        raw.request(message, { ...options, ...files, onPeer }),
      );
      answered.take(descriptors, answer);
      return answer;
    },
    close: (message, options) =>
      sendWith(held, [message.mechanism], (files) => raw.close(message, { ...options, ...files })),
  };
}

/** A file that cannot be opened here may be known to the peer: the message goes without it. */
async function sendWith<Answer>(
  held: HeldDescriptors,
  mechanisms: readonly (Mechanism | undefined)[],
  call: (files: Pick<UnaryOptions, 'descriptors'>) => Promise<Answer>,
): Promise<Answer> {
  const opened = filesOf(mechanisms).flatMap((url) => held.open(url) ?? []);
  try {
    return await call(opened.length === 0 ? {} : { descriptors: opened });
  } finally {
    opened.forEach((descriptor) => closeSync(descriptor));
  }
}

/** What came with answers, for whoever called to hold it. */
class AnsweredFiles {
  readonly #held: HeldDescriptors;
  readonly #clock: Clock;
  readonly #kept = new Map<() => void, Timer>();

  constructor(held: HeldDescriptors, clock: Clock) {
    this.#held = held;
    this.#clock = clock;
  }

  take(descriptors: PeerDescriptors | undefined, answer: Connection): void {
    for (const url of inodeUrlsOf([answer.mechanism])) {
      const descriptor = descriptors?.take(url);
      if (descriptor === undefined) continue;
      if (this.#held.needsNone(url)) {
        closeSync(descriptor);
        continue;
      }
      const release = this.#held.adopt(url, descriptor);
      const timer = this.#clock.after(answeredMs, () => {
        this.#kept.delete(release);
        release();
      });
      this.#kept.set(release, timer);
    }
  }

  close(): void {
    for (const [release, timer] of this.#kept) {
      timer.cancel();
      release();
    }
    this.#kept.clear();
  }
}
