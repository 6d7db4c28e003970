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
import { findingClient } from './found-sockets.ts';
import type { HeldDescriptors } from './held-descriptors.ts';
import type { KeptSocketsSetup } from './kept-sockets.ts';
import { KeptSockets } from './kept-sockets.ts';

export interface ConnectionFilesSetup {
  readonly held: HeldDescriptors;
  readonly clock: Clock;
}

/** Files of one message; those beyond come without, since each costs a look. */
const filesMax = 8;

function filesOf(mechanisms: readonly (Mechanism | undefined)[]): readonly string[] {
  return inodeUrlsOf(mechanisms).slice(0, filesMax);
}

/** A peer that sends one at all sends it ahead of the message. */
const lateMs = 1_000;
/** How long what came with an answer is kept for whoever called. */
const answeredMs = 30_000;

/** The services with each file of a call received before its handler runs, and those of its answer sent. */
export function withReceivedFiles(
  services: readonly ServedService[],
  setup: ConnectionFilesSetup,
): readonly ServedService[] {
  return services.map((service) =>
    service.descriptor === NetworkService
      ? receivingService(service.handler as unknown as ServiceHandler<typeof NetworkService>, setup)
      : service,
  );
}

function receivingService(
  handler: ServiceHandler<typeof NetworkService>,
  setup: ConnectionFilesSetup,
): ServedService {
  return serve(NetworkService, {
    request: (message, context) => {
      const { connection, mechanismPreferences } = message;
      const urls = filesOf([connection?.mechanism, ...mechanismPreferences]);
      return withFiles(setup, { urls, context }, async () => {
        const answer = await handler.request(message, context);
        sendAnswered(setup.held, context.peer.descriptors, answer, urls);
        return answer;
      });
    },
    close: (message, context) => {
      const urls = filesOf([message.mechanism]);
      return withFiles(setup, { urls, context }, () => handler.close(message, context));
    },
  });
}

/** Calls at once where nothing has to be waited for: calls keep their order of arrival. */
function withFiles<Answer>(
  { held, clock }: ConnectionFilesSetup,
  { urls, context }: { readonly urls: readonly string[]; readonly context: CallContext },
  handle: () => Promise<Answer>,
): Promise<Answer> {
  const { descriptors } = context.peer;
  if (descriptors === undefined || urls.length === 0) return handle();
  const releases: (() => void)[] = [];
  const missing: string[] = [];
  for (const url of urls) {
    const descriptor = descriptors.take(url);
    if (descriptor !== undefined) releases.push(held.adopt(url, descriptor));
    else if (!held.has(url)) missing.push(url);
  }
  const release = (): void => releases.forEach((each) => each());
  if (missing.length === 0) return handle().finally(release);
  const timeoutMs = Math.min(lateMs, context.deadlineMs - clock.nowMs());
  // Where one never comes, whoever needs the file says that it is not there.
  const late = missing.map(async (url) => {
    const descriptor = await descriptors.awaited(url, timeoutMs);
    if (descriptor !== undefined) releases.push(held.adopt(url, descriptor));
  });
  return Promise.all(late).then(handle).finally(release);
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
  const answered = new AnsweredFiles(setup);
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
            findingClient(channel.client(NetworkServiceEndpointRegistry), sockets),
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
  readonly #setup: ConnectionFilesSetup;
  readonly #kept = new Map<() => void, Timer>();

  constructor(setup: ConnectionFilesSetup) {
    this.#setup = setup;
  }

  take(descriptors: PeerDescriptors | undefined, answer: Connection): void {
    const { held, clock } = this.#setup;
    for (const url of inodeUrlsOf([answer.mechanism])) {
      const descriptor = descriptors?.take(url);
      if (descriptor === undefined) continue;
      if (held.needsNone(url)) {
        closeSync(descriptor);
        continue;
      }
      const release = held.adopt(url, descriptor);
      const timer = clock.after(answeredMs, () => {
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
