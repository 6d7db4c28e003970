// What travels beside the body of a call over the bus and, where the other end is vwire too, over gRPC: the call's
// opening line, the line of each frame, the operation and a refusal. All are legal header values (headers.ts).
// Decoders take anything a stranger may send: they answer undefined, never throw, and bound what they return.
// Versions: a line may end in ` v<n>`, without it it is version 1. A callee says on its frames what it reads, and every
// first call to an instance is answered by such a frame (`resync`), so a newer caller learns in time whether to speak an
// older version, and mixed versions get on while one replaces the other.

import type { ErrorCode, ErrorDetails } from '../errors.ts';
import { errorCodes, NsmError } from '../errors.ts';
import { formats } from '../formats.ts';
import type { Operation } from '../ports/rpc.ts';
import { decodeText, encodeText } from './headers.ts';
import { decodeToken, encodeToken } from './subjects.ts';

export const callHeader = 'vwire-call';
export const frameHeader = 'vwire-frame';
export const operationHeader = 'vwire-operation';
export const errorHeader = 'vwire-error';

const versionSuffix = '(?: v([1-9]\\d{0,4}))?';

/** Opens a call. Times are milliseconds of the callee's monotonic clock (peer-time.ts). */
export interface CallOpening {
  readonly id: string;
  /** The instance of the callee that the times are meant for; undefined while the caller does not know it. */
  readonly instance: string | undefined;
  /** Not to be begun after this. */
  readonly startBy: number;
  /** Not worth answering after this; Infinity for a watch. */
  readonly deadline: number;
  /** Stream messages that the caller takes before it grants more. */
  readonly window: number;
  /** Of the line, absent: 1. Given to be encoded it is what the callee reads, and no later one than ours is written. */
  readonly version?: number;
}

/** Nobody waits for thousands of years, and a longer number would not be read. */
const timeMax = 1e14;

export function encodeCall(call: CallOpening): string {
  const startBy = Math.min(call.startBy, timeMax).toFixed(3);
  const deadline = call.deadline === Infinity ? '-' : Math.min(call.deadline, timeMax).toFixed(3);
  const version = Math.min(call.version ?? 1, formats.callEnvelope);
  return `${call.id} ${call.instance ?? '-'} ${startBy} ${deadline} ${call.window}${versionText(version)}`;
}

/** Version 1 had no number yet. */
const versionText = (version: number): string => (version > 1 ? ` v${version}` : '');

const callLine = new RegExp(
  `^([\\w-]{1,64}) ([\\w-]{1,64}) (-?\\d{1,15}\\.\\d{3}) (-|-?\\d{1,15}\\.\\d{3}) (\\d{1,5})${versionSuffix}$`,
);

export function decodeCall(line: string | undefined): CallOpening | undefined {
  const match = line === undefined ? null : callLine.exec(line);
  if (match === null) return undefined;
  const [, id = '', instance = '', startBy, deadline, window, version] = match;
  return {
    id,
    instance: instance === '-' ? undefined : instance,
    startBy: Number(startBy),
    deadline: deadline === '-' ? Infinity : Number(deadline),
    window: Number(window),
    ...(version === undefined ? {} : { version: Number(version) }),
  };
}

/**
 * `answer` and `refuse` end a call; `resync` asks the caller to translate its times for this instance and to send
 * the call again; `data`, `end` (count: messages sent), `beat` (count: messages sent) and `credit` (count: messages
 * that may have been sent in all) carry a stream in either direction; `cancel` gives a call up.
 */
const frameKinds = [
  'answer',
  'refuse',
  'resync',
  'data',
  'end',
  'beat',
  'credit',
  'cancel',
] as const;
export type FrameKind = (typeof frameKinds)[number];

export interface Frame {
  readonly kind: FrameKind;
  /** For data the message's number, counted from 1. */
  readonly count: number;
  /** The sender's instance and its monotonic clock when it sent this. */
  readonly instance: string;
  readonly sentAt: number;
  /** What the sender reads, absent: 1. Always ours where a frame is encoded. */
  readonly version?: number;
}

export function encodeFrame({ kind, count, instance, sentAt }: Omit<Frame, 'version'>): string {
  return `${kind} ${count} ${instance} ${sentAt.toFixed(3)}${versionText(formats.callEnvelope)}`;
}

const frameLine = new RegExp(
  `^(${frameKinds.join('|')}) (\\d{1,15}) ([\\w-]{1,64}) (-?\\d{1,15}\\.\\d{3})${versionSuffix}$`,
);

export function decodeFrame(line: string | undefined): Frame | undefined {
  const match = line === undefined ? null : frameLine.exec(line);
  if (match === null) return undefined;
  const [, kind, count, instance = '', sentAt, version] = match;
  return {
    kind: kind as FrameKind,
    count: Number(count),
    instance,
    sentAt: Number(sentAt),
    ...(version === undefined ? {} : { version: Number(version) }),
  };
}

export function encodeOperation(operation: Operation): string {
  const { id, key, epoch, incarnation } = operation;
  if (
    !Number.isSafeInteger(epoch) ||
    !Number.isSafeInteger(incarnation) ||
    epoch < 0 ||
    incarnation < 0
  ) {
    throw new NsmError('INVALID_ARGUMENT', 'an operation needs whole numbers', {
      rule: 'operation',
      expected: 'epoch and incarnation from 0 to 2^53-1',
      found: `epoch ${epoch}, incarnation ${incarnation}`,
    });
  }
  return `${encodeToken(id)} ${encodeToken(key)} ${epoch} ${incarnation}`;
}

export function decodeOperation(line: string): Operation | undefined {
  const match = /^(\S{1,400}) (\S{1,400}) (\d{1,16}) (\d{1,16})$/.exec(line);
  if (match === null) return undefined;
  const [, idToken = '', keyToken = '', epochText, incarnationText] = match;
  const id = decodeToken(idToken);
  const key = decodeToken(keyToken);
  const epoch = Number(epochText);
  const incarnation = Number(incarnationText);
  if (!id || !key || !Number.isSafeInteger(epoch) || !Number.isSafeInteger(incarnation)) {
    return undefined;
  }
  return { id, key, epoch, incarnation };
}

const detailNames = ['hop', 'rule', 'expected', 'found', 'remedy', 'connectionId'] as const;
/** Characters of a message or detail that travel: an error is for people, and must fit a header block. */
const errorTextMax = 1500;
const errorLineMax = 12 * 1024;

export function encodeError(error: NsmError): string {
  // A character takes up to nine once encoded, so a long text in another script is cut shorter.
  let line = '';
  for (const textMax of [errorTextMax, 300, 60]) {
    line = encodeText(JSON.stringify(errorParts(error, textMax)));
    if (line.length <= errorLineMax) break;
  }
  return line;
}

function errorParts(error: NsmError, textMax: number): Record<string, string> {
  const parts: Record<string, string> = { code: error.code, message: cut(error.message, textMax) };
  for (const name of detailNames) {
    const value = error.details[name];
    if (value !== undefined) parts[name] = cut(String(value), textMax);
  }
  return parts;
}

export function decodeError(line: string | undefined): NsmError | undefined {
  const parts = parseRecord(line === undefined ? undefined : decodeText(line));
  if (parts === undefined) return undefined;
  const { code, message } = parts;
  if (typeof code !== 'string' || !Object.hasOwn(errorCodes, code)) return undefined;
  const details: Record<string, string> = {};
  for (const name of detailNames) {
    const value = parts[name];
    if (typeof value === 'string') details[name] = cut(value, errorTextMax);
  }
  const text = typeof message === 'string' ? cut(message, errorTextMax) : '';
  return new NsmError(code as ErrorCode, text, details as ErrorDetails);
}

function cut(text: string, max: number): string {
  return text.length > max ? `${text.slice(0, max - 3)}...` : text;
}

function parseRecord(json: string | undefined): Record<string, unknown> | undefined {
  try {
    const value: unknown = JSON.parse(json ?? '');
    return typeof value === 'object' && value !== null
      ? (value as Record<string, unknown>)
      : undefined;
  } catch {
    return undefined;
  }
}
