// A client of VPP's binary API on its unix socket: requests, dumps, streams, events, with messages as the definitions
// say, which are given or read from the running VPP.
// Invariants: what is typed was compared with the definitions before it goes out; requests go out in the order in which they were made; an answer reaches the call that it belongs to; after
// a loss it connects again and says so; after `close` nothing is left.

import type { NsmError } from '../../protocols/errors.ts';
import { asNsmError } from '../../protocols/errors.ts';
import type { StreamHost } from '../../protocols/ports/byte-stream.ts';
import type { Budget } from '../../protocols/ports/dataplane.ts';
import type { Vpp, VppEvent } from '../../protocols/ports/vpp.ts';
import type {
  CallOutcome,
  LinkLimits,
  Session,
  SessionStream,
} from '../../protocols/stream-link/link.ts';
import { defaultLinkLimits, Link } from '../../protocols/stream-link/link.ts';
import type { ApiCatalog } from '../../protocols/vpp/api-catalog.ts';
import { createCatalog } from '../../protocols/vpp/api-catalog.ts';
import { frameBytesMaxDefault } from '../../protocols/vpp/frames.ts';
import type { Handshake } from '../../protocols/vpp/handshake.ts';
import { parseApiJson } from '../../protocols/vpp/parse-api.ts';
import { moreToCome } from '../../protocols/vpp/return-codes.ts';
import type {
  DetailsFields,
  DumpFields,
  DumpName,
  ReplyFields,
  RequestFields,
  RequestName,
} from '../../protocols/vpp/messages/known-messages.ts';
import type { VppFields } from '../../protocols/vpp/values.ts';
import type { Abandon, AnswerLimits, Call, Details } from './answers.ts';
import { sendDump, sendRequest, sendStream, tooLong } from './answers.ts';
import { Subscriptions } from './subscriptions.ts';
import { VppSession } from './vpp-session.ts';

export interface VppClientOptions {
  readonly socketPath: string;
  /** The messages that the client may use, by `loadApiFolder`; without, the running VPP is asked (24.06 or later). */
  readonly api?: ApiCatalog;
  /** Shown by VPP (`show api clients`). */
  readonly name?: string;
  readonly limits?: Partial<VppLimits>;
  /** `unixHost`, outside of tests. */
  readonly host: StreamHost;
}

export interface VppLimits extends LinkLimits, AnswerLimits {
  /** Length of one message from VPP. */
  readonly frameBytesMax: number;
  readonly subscriptionsMax: number;
}

const defaultLimits: VppLimits = {
  ...defaultLinkLimits,
  detailsMax: 1_048_576,
  answerBytesMax: 256 * 1024 * 1024,
  frameBytesMax: frameBytesMaxDefault,
  subscriptionsMax: 64,
};

/** Connects at once and for as long as it is not closed; calls made before it is connected wait. */
export function createVppClient(options: VppClientOptions): Vpp {
  return new VppClient(options);
}

type Start<Result> = (session: VppSession, outcome: CallOutcome<Result>) => Abandon;

class VppClient implements Vpp {
  readonly #options: VppClientOptions;
  readonly #limits: VppLimits;
  readonly #hop: string;
  readonly #listeners = new Set<(event: VppEvent) => void>();
  readonly #subscriptions: Subscriptions;
  readonly #link: Link;
  #session: VppSession | undefined;
  /** What a running VPP answered, and the messages that it had: another start of the same VPP needs not be asked. */
  #learned: { readonly keys: ReadonlySet<string>; readonly api: ApiCatalog } | undefined;

  constructor(options: VppClientOptions) {
    const { socketPath, host, limits } = options;
    this.#options = options;
    this.#hop = `VPP at ${socketPath}`;
    this.#limits = { ...defaultLimits, ...limits };
    this.#subscriptions = new Subscriptions(this.#limits.subscriptionsMax);
    this.#link = new Link({
      name: this.#hop,
      socketPath,
      host,
      limits: this.#limits,
      startSession: (stream) => this.#start(stream),
    });
  }

  async request<Name extends RequestName>(
    name: Name,
    fields: RequestFields<Name>,
    budget: Budget,
  ): Promise<ReplyFields<Name>> {
    return (await this.#ask({ name, fields, isRead: false }, budget)) as ReplyFields<Name>;
  }

  async read<Name extends RequestName>(
    name: Name,
    fields: RequestFields<Name>,
    budget: Budget,
  ): Promise<ReplyFields<Name>> {
    return (await this.#ask({ name, fields, isRead: true }, budget)) as ReplyFields<Name>;
  }

  async dump<Name extends DumpName>(
    name: Name,
    fields: DumpFields<Name>,
    budget: Budget,
  ): Promise<readonly DetailsFields<Name>[]> {
    const call = { name, fields, limits: this.#limits };
    const { details } = await this.#call<Details>(
      { what: name, isRead: true },
      budget,
      (session, outcome) => sendDump(session, call, outcome),
    );
    return details as readonly DetailsFields<Name>[];
  }

  stream: Vpp['stream'] = async (name, fields, budget) => {
    const { clock } = this.#options.host;
    const endMs = clock.nowMs() + budget.timeoutMs;
    const all: VppFields[] = [];
    for (let next = fields; ; ) {
      const timeoutMs = Math.max(0, endMs - clock.nowMs());
      const call = { name, fields: next, limits: this.#limits };
      const { details, reply } = await this.#call<Details>(
        { what: name, isRead: true },
        { ...budget, timeoutMs },
        (session, outcome) => sendStream(session, call, outcome),
      );
      all.push(...details);
      if (all.length > this.#limits.detailsMax) {
        throw tooLong(name, `at most ${this.#limits.detailsMax} details`);
      }
      if (Number(reply['retval']) !== moreToCome) return { details: all, reply };
      next = { ...fields, cursor: reply['cursor'] };
    }
  };

  /** The listener's type follows from the name of the event, which is all that subscriptions go by. */
  subscribe: Vpp['subscribe'] = (subscription, listener) =>
    this.#subscriptions.add(subscription, listener as never);

  unusable: Vpp['unusable'] = (names, budget) =>
    this.#call({ what: 'a look at the messages', isRead: true }, budget, ({ table }, outcome) => {
      const found = new Map<string, NsmError>();
      for (const name of names) {
        try {
          table?.request(name);
        } catch (error) {
          found.set(name, asNsmError(error));
        }
      }
      outcome.resolve(found);
      return () => {};
    });

  watch: Vpp['watch'] = (listener) => {
    this.#listeners.add(listener);
    return () => void this.#listeners.delete(listener);
  };

  close(): Promise<void> {
    this.#listeners.clear();
    this.#subscriptions.clear();
    this.#session?.leave();
    this.#link.close();
    return Promise.resolve();
  }

  #ask({ isRead, ...call }: Call & { readonly isRead: boolean }, budget: Budget) {
    return this.#call<VppFields>({ what: call.name, isRead }, budget, (session, outcome) =>
      sendRequest(session, call, outcome),
    );
  }

  #call<Result>(
    call: { readonly what: string; readonly isRead: boolean },
    budget: Budget,
    start: Start<Result>,
  ): Promise<Result> {
    let abandon: Abandon = () => {};
    return this.#link.call<Result>({
      ...call,
      budget,
      start: (outcome) => {
        if (this.#session !== undefined) abandon = start(this.#session, outcome);
      },
      abandon: () => abandon(),
    });
  }

  #start(stream: SessionStream): Session {
    let messageCount = 0;
    const session = new VppSession({
      stream,
      clientName: this.#options.name ?? 'vwire',
      frameBytesMax: this.#limits.frameBytesMax,
      hop: this.#hop,
      events: {
        definitions: ({ ids }) => {
          messageCount = ids.size;
          return this.#options.api ?? this.#learnedFor(ids);
        },
        onDefinitions: ({ ids }, json) => this.#learn(ids, json),
        onReady: (pid) => {
          this.#session = session;
          this.#tell({ kind: 'connected', pid, messageCount });
          this.#subscriptions.connected(session);
          stream.ready();
        },
        onEvent: (name, fields) => this.#subscriptions.event(name, fields),
      },
    });
    return {
      receive: (bytes) => session.receive(bytes),
      probe: () => session.probe(),
      ended: (error) => {
        const wasConnected = this.#session === session;
        this.#session = undefined;
        if (!wasConnected) return;
        this.#subscriptions.lost(error);
        this.#tell({ kind: 'lost', error });
      },
    };
  }

  #learnedFor(ids: Handshake['ids']): ApiCatalog | undefined {
    const learned = this.#learned;
    const isSame =
      learned?.keys.size === ids.size && [...ids.keys()].every((key) => learned.keys.has(key));
    return isSame ? learned?.api : undefined;
  }

  #learn(ids: Handshake['ids'], json: string): ApiCatalog {
    const api = createCatalog(parseApiJson(json, this.#hop));
    this.#learned = { keys: new Set(ids.keys()), api };
    return api;
  }

  #tell(event: VppEvent): void {
    for (const listener of this.#listeners) listener(event);
  }
}
