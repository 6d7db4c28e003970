// The actor that the runtime's contract is tested on, and how its messages cross processes.

import type { ActorCodec, Behavior, ReplyTo } from '../../actors/runtime/api.ts';
import { NsmError } from '../../protocols/errors.ts';

export type Probe =
  | { readonly type: 'add'; readonly n: number }
  | { readonly type: 'crash' | 'stop' }
  | { readonly type: 'wait'; readonly replyTo?: ReplyTo<readonly number[]> }
  | {
      readonly type: 'get' | 'refuse' | 'crashAsked' | 'never' | 'answerTwice' | 'answerLate';
      readonly replyTo: ReplyTo<readonly number[]>;
    };

const decoder = new TextDecoder();
const encoder = new TextEncoder();

export const probeCodec: ActorCodec<Probe, readonly number[]> = {
  encode: (message) => encoder.encode(JSON.stringify({ ...message, replyTo: undefined })),
  decode: (bytes, replyTo) => {
    try {
      return { ...(JSON.parse(decoder.decode(bytes)) as object), replyTo } as Probe;
    } catch (cause) {
      throw new NsmError('INVALID_ARGUMENT', 'not a probe', { cause });
    }
  },
  encodeReply: (reply) => encoder.encode(JSON.stringify(reply)),
  decodeReply: (bytes) => JSON.parse(decoder.decode(bytes)) as number[],
};

/** Lets a test hold the actor and see what reached it. */
export interface Hold {
  release: () => void;
  readonly late: ReplyTo<readonly number[]>[];
}

export function probeBehavior(hold: Hold): Behavior<readonly number[], Probe> {
  return {
    initial: () => [],
    mailbox: { depthMax: 100, overflow: 'reject' },
    supervision: {
      onCrash: 'restart',
      crashesMax: 1,
      windowMs: 60_000,
      whenExceeded: 'stop',
      backoffMs: 0,
      backoffMsMax: 0,
    },
    receive: (state, message, context) => {
      switch (message.type) {
        case 'add':
          return [...state, message.n];
        case 'get':
          message.replyTo.tell(state);
          return state;
        case 'refuse':
          message.replyTo.fail(new NsmError('PERMISSION_DENIED', 'no', { rule: 'probe' }));
          return state;
        case 'crash':
        case 'crashAsked':
          throw new Error('probe crashed');
        case 'never':
          return state;
        case 'answerTwice':
          message.replyTo.tell([1]);
          message.replyTo.tell([2]);
          return state;
        case 'answerLate':
          hold.late.push(message.replyTo);
          return state;
        case 'wait':
          return new Promise((resolve) => {
            hold.release = () => {
              message.replyTo?.tell(state);
              resolve(state);
            };
          });
        case 'stop':
          context.stop();
          return state;
      }
    },
  };
}
