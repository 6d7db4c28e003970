// A client of one bridge's OpenFlow 1.3 tables on Open vSwitch's management socket, `<run directory>/<bridge>.mgmt`.
// Invariants: requests go out in the order in which they were made; a refusal reaches the request that caused it;
// after a loss it connects again and says so; after `close` nothing is left.

import { NsmError } from '../../protocols/errors.ts';
import type {
  CallOutcome,
  CallSpec,
  LinkLimits,
  Session,
  SessionStream,
} from '../../protocols/stream-link/link.ts';
import { defaultLinkLimits, Link } from '../../protocols/stream-link/link.ts';
import type { MultipartReply, MultipartRequest } from '../../protocols/ovs/multipart.ts';
import { port } from '../../protocols/ovs/openflow-constants.ts';
import { switchRefusal } from '../../protocols/ovs/openflow-errors.ts';
import type { MessageBody, SwitchFeatures } from '../../protocols/ovs/openflow-messages.ts';
import type { StreamHost } from '../../protocols/ports/byte-stream.ts';
import type { Budget } from '../../protocols/ports/dataplane.ts';
import type { OpenFlow, OpenFlowEvent } from '../../protocols/ports/ovs.ts';
import type { Abandon } from './modifications.ts';
import { sendBundle, sendEach } from './modifications.ts';
import { OpenFlowSession } from './openflow-session.ts';

export interface OpenFlowClientOptions {
  readonly socketPath: string;
  readonly limits?: Partial<LinkLimits & OpenFlowLimits>;
  /** `unixHost`, outside of tests. */
  readonly host: StreamHost;
}

export interface OpenFlowLimits {
  /** Modifications in one call. */
  readonly modsMax: number;
  /** Flows or ports in the answer to one call. */
  readonly entriesMax: number;
}

const defaultLimits: LinkLimits & OpenFlowLimits = {
  ...defaultLinkLimits,
  // A switch that starts anew has no flows until it is heard, and being refused by a socket costs next to nothing.
  retryAfterMsMax: 50,
  modsMax: 65_536,
  entriesMax: 1_048_576,
};

/** Connects at once and for as long as it is not closed; calls made before it is connected wait. */
export function createOpenFlowClient(options: OpenFlowClientOptions): OpenFlow {
  return new OpenFlowClient(options);
}

type Start<Result> = (session: OpenFlowSession, outcome: CallOutcome<Result>) => Abandon;

class OpenFlowClient implements OpenFlow {
  readonly #limits: LinkLimits & OpenFlowLimits;
  readonly #listeners = new Set<(event: OpenFlowEvent) => void>();
  readonly #link: Link;
  #session: OpenFlowSession | undefined;
  #features: SwitchFeatures | undefined;
  #bundleCount = 0;

  constructor({ socketPath, limits, host }: OpenFlowClientOptions) {
    this.#limits = { ...defaultLimits, ...limits };
    this.#link = new Link({
      name: `the switch at ${socketPath}`,
      socketPath,
      host,
      limits: this.#limits,
      startSession: (stream) => this.#start(stream),
    });
  }

  commit: OpenFlow['commit'] = async (mods, budget) => {
    if (mods.length === 0) return;
    this.#checkCount(mods.length);
    const what = `a commit of ${mods.length} flow modifications`;
    await this.#change(what, budget, (session, outcome) => {
      this.#bundleCount = (this.#bundleCount + 1) >>> 0;
      return sendBundle(session, { id: this.#bundleCount, mods }, outcome);
    });
  };

  program: OpenFlow['program'] = async (mods, budget) => {
    this.#checkCount(mods.length);
    const what = `${mods.length} flow modifications`;
    await this.#change(what, budget, (session, outcome) => sendEach(session, mods, outcome));
  };

  barrier: OpenFlow['barrier'] = (budget) => this.program([], budget);

  flows: OpenFlow['flows'] = async (filter, budget) => {
    const replies = await this.#multipart({ of: 'flow', filter }, budget);
    return replies.flatMap((reply) => (reply.of === 'flow' ? reply.flows : []));
  };

  flowSums: OpenFlow['flowSums'] = async (filter, budget) => {
    const [reply] = await this.#multipart({ of: 'aggregate', filter }, budget);
    return reply?.of === 'aggregate' ? reply.sums : { packets: 0n, bytes: 0n, flows: 0 };
  };

  ports: OpenFlow['ports'] = async (budget) => {
    const replies = await this.#multipart({ of: 'portDescription' }, budget);
    return replies.flatMap((reply) => (reply.of === 'portDescription' ? reply.ports : []));
  };

  portStatistics: OpenFlow['portStatistics'] = async (budget) => {
    const replies = await this.#multipart({ of: 'portStatistics', port: port.any }, budget);
    return replies.flatMap((reply) => (reply.of === 'portStatistics' ? reply.statistics : []));
  };

  description: OpenFlow['description'] = async (budget) => {
    const [reply] = await this.#multipart({ of: 'description' }, budget);
    if (reply?.of === 'description') return reply.description;
    throw unexpectedAnswer('its description', reply?.of ?? 'nothing');
  };

  features: OpenFlow['features'] = (budget) =>
    this.#read('features', budget, (_, outcome) => {
      if (this.#features !== undefined) outcome.resolve(this.#features);
      return () => {};
    });

  watch: OpenFlow['watch'] = (listener) => {
    this.#listeners.add(listener);
    return () => void this.#listeners.delete(listener);
  };

  close(): Promise<void> {
    this.#listeners.clear();
    this.#link.close();
    return Promise.resolve();
  }

  #checkCount(count: number): void {
    const { modsMax } = this.#limits;
    if (count <= modsMax) return;
    throw new NsmError('INVALID_ARGUMENT', 'too many flow modifications in one call', {
      rule: 'flow modifications',
      expected: `at most ${modsMax}`,
      found: `${count}`,
      remedy: 'make several calls',
    });
  }

  #change(what: string, budget: Budget, start: Start<void>): Promise<void> {
    return this.#call({ what, budget, isRead: false }, start);
  }

  #read<Result>(what: string, budget: Budget, start: Start<Result>): Promise<Result> {
    return this.#call({ what, budget, isRead: true }, start);
  }

  #call<Result>(call: Pick<CallSpec<Result>, 'what' | 'budget' | 'isRead'>, start: Start<Result>) {
    let abandon: Abandon = () => {};
    return this.#link.call<Result>({
      ...call,
      start: (outcome) => {
        if (this.#session !== undefined) abandon = start(this.#session, outcome);
      },
      abandon: () => abandon(),
    });
  }

  /** The parts of a reply, in order; bounded, since a switch may hold any number of flows. */
  #multipart(request: MultipartRequest, budget: Budget): Promise<MultipartReply[]> {
    const what = `a request for ${request.of}`;
    return this.#read<MultipartReply[]>(what, budget, (session, outcome) => {
      const replies: MultipartReply[] = [];
      let entries = 0;
      const body: MessageBody = { kind: 'multipartRequest', request };
      const xid = session.send(body, (message) => {
        if (message.kind === 'multipartReply') {
          replies.push(message.reply);
          entries += entryCount(message.reply);
          if (message.more && entries <= this.#limits.entriesMax) return;
        }
        session.forget(xid);
        if (message.kind === 'error') outcome.reject(switchRefusal(message.error, what));
        else if (message.kind !== 'multipartReply') {
          outcome.reject(unexpectedAnswer(what, message.kind));
        } else if (entries > this.#limits.entriesMax) {
          outcome.reject(tooManyEntries(what, this.#limits.entriesMax));
        } else outcome.resolve(replies);
      });
      return () => session.forget(xid);
    });
  }

  #start(stream: SessionStream): Session {
    const session = new OpenFlowSession(stream, {
      onReady: (features) => {
        this.#session = session;
        this.#features = features;
        this.#tell({ kind: 'connected', features });
        stream.ready();
      },
      onEvent: (event) => this.#tell(event),
    });
    return {
      receive: (bytes) => session.receive(bytes),
      probe: () => session.probe(),
      ended: (error) => {
        const wasConnected = this.#session !== undefined;
        this.#session = undefined;
        this.#features = undefined;
        if (wasConnected) this.#tell({ kind: 'lost', error });
      },
    };
  }

  #tell(event: OpenFlowEvent): void {
    for (const listener of this.#listeners) listener(event);
  }
}

function entryCount(reply: MultipartReply): number {
  if (reply.of === 'flow') return reply.flows.length;
  if (reply.of === 'portDescription') return reply.ports.length;
  return reply.of === 'portStatistics' ? reply.statistics.length : 1;
}

function tooManyEntries(what: string, entriesMax: number): NsmError {
  return new NsmError('RESOURCE_EXHAUSTED', `${what} has too long an answer`, {
    rule: 'entries',
    expected: `at most ${entriesMax}`,
    found: 'more',
    remedy: 'ask for fewer by cookie',
  });
}

function unexpectedAnswer(expected: string, found: string): NsmError {
  return new NsmError('UNKNOWN', 'the switch answered with something else', {
    rule: 'answer',
    expected,
    found,
  });
}
