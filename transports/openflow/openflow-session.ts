// One connection to a switch: the handshake (hello with a version bitmap, features, which events to send), transaction
// ids, and answers and errors brought to the request that they belong to.
// Invariants: an xid is used once until 2^32 others were; an answer to nobody is ignored, since its caller gave up.

import { NsmError } from '../../protocols/errors.ts';
import type { SessionStream } from '../../protocols/stream-link/link.ts';
import { openflowVersion } from '../../protocols/ovs/openflow-constants.ts';
import { switchRefusal } from '../../protocols/ovs/openflow-errors.ts';
import { createFrameSplitter } from '../../protocols/ovs/openflow-frames.ts';
import type {
  MessageBody,
  OpenFlowMessage,
  SwitchFeatures,
} from '../../protocols/ovs/openflow-messages.ts';
import { decodeMessage, encodeMessage } from '../../protocols/ovs/openflow-messages.ts';
import type { OpenFlowEvent } from '../../protocols/ports/ovs.ts';

/** Hears every message with the xid of its request, errors among them. */
export type AnswerListener = (message: OpenFlowMessage) => void;

export interface OutgoingRequest {
  readonly body: MessageBody;
  readonly onAnswer?: AnswerListener | undefined;
}

export interface SessionEvents {
  onReady(features: SwitchFeatures): void;
  onEvent(event: OpenFlowEvent): void;
}

/**
 * Open vSwitch sends events over a management socket only after a miss_send_len other than 0 (its documentation,
 * "Asynchronous Messages"); packets themselves are then kept away by the masks.
 */
const missSendLength = 128;
const noReason = [0, 0] as const;
/** Bits of enum ofp_port_reason and ofp_flow_removed_reason, for every role. */
const portReasonBits = [0b111, 0b111] as const;
const flowRemovedReasonBits = [0b1111, 0b1111] as const;

const xidMax = 0xffffffff;

export class OpenFlowSession {
  readonly #stream: SessionStream;
  readonly #events: SessionEvents;
  readonly #splitter = createFrameSplitter();
  readonly #listeners = new Map<number, AnswerListener>();
  #nextXid = 1;
  #hasHello = false;

  constructor(stream: SessionStream, events: SessionEvents) {
    this.#stream = stream;
    this.#events = events;
    this.send({ kind: 'hello', versions: [openflowVersion] });
  }

  /** Sends, and reports every message that answers it until `forget`. Returns the xid. */
  send(body: MessageBody, onAnswer?: AnswerListener): number {
    const { xid, bytes } = this.#encoded({ body, onAnswer });
    this.#stream.send(bytes);
    return xid;
  }

  /** As `send` for each, in one write: the switch takes a turn of its main loop for what it finds waiting. */
  sendAll(requests: readonly OutgoingRequest[]): number[] {
    const encoded = requests.map((request) => this.#encoded(request));
    this.#stream.send(Buffer.concat(encoded.map(({ bytes }) => bytes)));
    return encoded.map(({ xid }) => xid);
  }

  forget(xid: number): void {
    this.#listeners.delete(xid);
  }

  receive(bytes: Uint8Array): void {
    for (const frame of this.#splitter.push(bytes)) this.#dispatch(decodeMessage(frame));
  }

  probe(): void {
    this.send({ kind: 'echoRequest', data: new Uint8Array(0) });
  }

  #encoded({ body, onAnswer }: OutgoingRequest): {
    readonly xid: number;
    readonly bytes: Uint8Array;
  } {
    const xid = this.#takeXid();
    const bytes = encodeMessage({ ...body, xid });
    if (onAnswer !== undefined) this.#listeners.set(xid, onAnswer);
    return { xid, bytes };
  }

  #takeXid(): number {
    while (this.#listeners.has(this.#nextXid)) this.#advance();
    const xid = this.#nextXid;
    this.#advance();
    return xid;
  }

  #advance(): void {
    this.#nextXid = this.#nextXid === xidMax ? 1 : this.#nextXid + 1;
  }

  #dispatch(message: OpenFlowMessage): void {
    if (message.kind === 'hello') this.#greeted(message.versions);
    else if (message.kind === 'echoRequest') {
      const { xid, data } = message;
      this.#stream.send(encodeMessage({ kind: 'echoReply', xid, data }));
    } else if (message.kind === 'portStatus') {
      this.#events.onEvent({ kind: 'portStatus', reason: message.reason, port: message.port });
    } else if (message.kind === 'flowRemoved') {
      this.#events.onEvent({ kind: 'flowRemoved', removed: message.removed });
    } else {
      // First, so that who waits for the answer finds it done.
      if (message.kind === 'barrierReply') this.#events.onEvent({ kind: 'barrier' });
      this.#answered(message);
    }
  }

  #answered(message: OpenFlowMessage): void {
    const listener = this.#listeners.get(message.xid);
    if (listener !== undefined) listener(message);
    else if (message.kind === 'error' && !this.#hasHello) {
      throw switchRefusal(message.error, 'the handshake');
    }
  }

  #greeted(versions: readonly number[]): void {
    if (this.#hasHello) return;
    this.#hasHello = true;
    if (versions.length > 0 && !versions.includes(openflowVersion)) {
      throw new NsmError('UNIMPLEMENTED', 'the switch does not speak OpenFlow 1.3', {
        rule: 'hello',
        expected: `wire version ${openflowVersion}`,
        found: versions.join(', '),
        remedy: 'allow OpenFlow13 in the protocols of the bridge',
      });
    }
    this.send({ kind: 'setConfig', flags: 0, missSendLength });
    this.send({
      kind: 'setAsync',
      masks: {
        packetIn: noReason,
        portStatus: portReasonBits,
        flowRemoved: flowRemovedReasonBits,
      },
    });
    const xid = this.send({ kind: 'featuresRequest' }, (message) => {
      this.forget(xid);
      if (message.kind === 'error') throw switchRefusal(message.error, 'the features request');
      if (message.kind === 'featuresReply') this.#events.onReady(message.features);
    });
  }
}
