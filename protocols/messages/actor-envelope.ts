// The bytes of an actor envelope: protobuf wire format written by hand, so that a newer peer can add fields.
// NSM concept: none; only vwire's own processes read it. Invariants: decoding what was encoded gives the same
// envelope; anything else is refused with one INVALID_ARGUMENT that says what, where, expected and found.

import { BinaryReader, BinaryWriter, WireType } from '@bufbuild/protobuf/wire';
import { asNsmError, type ErrorCode, errorCodes, type ErrorDetails, NsmError } from '../errors.ts';
import { formats } from '../formats.ts';
import type { ActorEnvelope, RemoteError } from '../ports/actor-link.ts';

/** Actors nest a few levels deep; more is a mistake or an attack. */
export const actorPathDepthMax = 32;

/** Field numbers on the wire; never reused. */
const field = {
  version: 1,
  kind: 2,
  to: 3,
  from: 4,
  path: 5,
  incarnation: 6,
  id: 7,
  timeoutMs: 8,
  body: 9,
  reason: 10,
  watchCount: 11,
  errorCode: 12,
  errorMessage: 13,
  errorDetail: 14,
} as const;

const kinds = [
  'tell',
  'ask',
  'reply',
  'failure',
  'cancel',
  'watch',
  'unwatch',
  'terminated',
  'ping',
  'pong',
] as const satisfies readonly ActorEnvelope['kind'][];
const reasons = ['stopped', 'crashed'] as const;
const detailNames = [
  'hop',
  'rule',
  'expected',
  'found',
  'remedy',
  'connectionId',
] as const satisfies readonly (keyof ErrorDetails)[];

export function encodeActorEnvelope(envelope: ActorEnvelope): Uint8Array {
  const writer = new BinaryWriter();
  writer.tag(field.version, WireType.Varint).uint32(formats.actorEnvelope);
  writer.tag(field.kind, WireType.Varint).uint32(kinds.indexOf(envelope.kind) + 1);
  text(writer, field.to, envelope.to);
  text(writer, field.from, envelope.from);
  if ('target' in envelope) {
    for (const name of envelope.target.path) text(writer, field.path, name);
    text(writer, field.incarnation, envelope.target.incarnation);
  }
  if ('id' in envelope) text(writer, field.id, envelope.id);
  if ('body' in envelope) writer.tag(field.body, WireType.LengthDelimited).bytes(envelope.body);
  if (envelope.kind === 'ask') {
    writer.tag(field.timeoutMs, WireType.Bit64).double(envelope.timeoutMs);
  }
  if (envelope.kind === 'failure') writeError(writer, envelope.error);
  if (envelope.kind === 'terminated') {
    writer.tag(field.reason, WireType.Varint).uint32(reasons.indexOf(envelope.reason) + 1);
  }
  if (envelope.kind === 'pong') {
    writer.tag(field.watchCount, WireType.Varint).uint32(envelope.watchCount);
  }
  return writer.finish();
}

/** Errors: INVALID_ARGUMENT. The body shares the memory of `bytes`. */
export function decodeActorEnvelope(bytes: Uint8Array): ActorEnvelope {
  const raw = readFields(bytes);
  if (raw.version < 1 || raw.version > formats.actorEnvelope) {
    throw refused('version', `1 to ${formats.actorEnvelope}`, String(raw.version));
  }
  const kind = kinds[raw.kind - 1];
  if (kind === undefined) throw refused('kind', `1 to ${kinds.length}`, String(raw.kind));
  const route = { to: need('to', raw.to), from: need('from', raw.from) };
  switch (kind) {
    case 'tell':
      return { ...route, kind, target: targetOf(raw), body: bodyOf(raw) };
    case 'ask': {
      const id = need('id', raw.id);
      return {
        ...route,
        kind,
        target: targetOf(raw),
        id,
        timeoutMs: timeoutOf(raw),
        body: bodyOf(raw),
      };
    }
    case 'reply':
      return { ...route, kind, id: need('id', raw.id), body: bodyOf(raw) };
    case 'failure':
      return { ...route, kind, id: need('id', raw.id), error: errorOf(raw) };
    case 'watch':
      return { ...route, kind, target: targetOf(raw), id: need('id', raw.id) };
    case 'cancel':
    case 'unwatch':
      return { ...route, kind, id: need('id', raw.id) };
    case 'terminated':
      return { ...route, kind, id: need('id', raw.id), reason: reasonOf(raw) };
    case 'ping':
      return { ...route, kind };
    case 'pong':
      return { ...route, kind, watchCount: raw.watchCount };
  }
}

/** Everything that may be on the wire, before it is judged. */
interface RawEnvelope {
  version: number;
  kind: number;
  to: string;
  from: string;
  path: string[];
  incarnation: string;
  id: string;
  timeoutMs: number;
  body: Uint8Array | undefined;
  reason: number;
  watchCount: number;
  errorCode: string;
  errorMessage: string;
  details: string[];
}

type Read = (raw: RawEnvelope, reader: BinaryReader) => void;

const readers: Readonly<Record<number, readonly [wireType: WireType, read: Read]>> = {
  [field.version]: [WireType.Varint, (raw, r) => void (raw.version = r.uint32())],
  [field.kind]: [WireType.Varint, (raw, r) => void (raw.kind = r.uint32())],
  [field.to]: [WireType.LengthDelimited, (raw, r) => void (raw.to = r.string())],
  [field.from]: [WireType.LengthDelimited, (raw, r) => void (raw.from = r.string())],
  [field.path]: [WireType.LengthDelimited, (raw, r) => void raw.path.push(r.string())],
  [field.incarnation]: [WireType.LengthDelimited, (raw, r) => void (raw.incarnation = r.string())],
  [field.id]: [WireType.LengthDelimited, (raw, r) => void (raw.id = r.string())],
  [field.timeoutMs]: [WireType.Bit64, (raw, r) => void (raw.timeoutMs = r.double())],
  [field.body]: [WireType.LengthDelimited, (raw, r) => void (raw.body = r.bytes())],
  [field.reason]: [WireType.Varint, (raw, r) => void (raw.reason = r.uint32())],
  [field.watchCount]: [WireType.Varint, (raw, r) => void (raw.watchCount = r.uint32())],
  [field.errorCode]: [WireType.LengthDelimited, (raw, r) => void (raw.errorCode = r.string())],
  [field.errorMessage]: [
    WireType.LengthDelimited,
    (raw, r) => void (raw.errorMessage = r.string()),
  ],
  [field.errorDetail]: [WireType.LengthDelimited, (raw, r) => void raw.details.push(r.string())],
};

function readFields(bytes: Uint8Array): RawEnvelope {
  const raw: RawEnvelope = {
    version: 0,
    kind: 0,
    to: '',
    from: '',
    path: [],
    incarnation: '',
    id: '',
    timeoutMs: Number.NaN,
    body: undefined,
    reason: 0,
    watchCount: 0,
    errorCode: '',
    errorMessage: '',
    details: [],
  };
  const reader = new BinaryReader(bytes);
  let at = 0;
  try {
    while (reader.pos < reader.len) {
      at = reader.pos;
      const [number, wireType] = reader.tag();
      const known = readers[number];
      if (known === undefined) reader.skip(wireType, number);
      else if (known[0] === wireType) known[1](raw, reader);
      else throw new Error(`wire type ${wireType} for field ${number}`);
    }
  } catch (cause) {
    const found = `${asNsmError(cause).message} at byte ${at} of ${bytes.length}`;
    throw refused('bytes', 'fields in protobuf wire format', found);
  }
  return raw;
}

function targetOf(raw: RawEnvelope): { node: string; path: string[]; incarnation: string } {
  const { path } = raw;
  const isPath = path.length > 0 && path.length <= actorPathDepthMax && !path.includes('');
  if (!isPath) {
    throw refused('path', `1 to ${actorPathDepthMax} names, none empty`, `${path.length} names`);
  }
  return { node: raw.to, path, incarnation: need('incarnation', raw.incarnation) };
}

function bodyOf(raw: RawEnvelope): Uint8Array {
  if (raw.body === undefined) throw refused('body', 'bytes, of any length', 'none');
  return raw.body;
}

function timeoutOf(raw: RawEnvelope): number {
  const { timeoutMs } = raw;
  if (timeoutMs > 0 && timeoutMs < Number.POSITIVE_INFINITY) return timeoutMs;
  throw refused('timeoutMs', 'a finite number above 0', String(timeoutMs));
}

function reasonOf(raw: RawEnvelope): (typeof reasons)[number] {
  const reason = reasons[raw.reason - 1];
  if (reason === undefined) throw refused('reason', `1 to ${reasons.length}`, String(raw.reason));
  return reason;
}

function errorOf(raw: RawEnvelope): RemoteError {
  const code = raw.errorCode;
  if (!Object.hasOwn(errorCodes, code)) {
    throw refused('error code', 'a code of the error table', JSON.stringify(code));
  }
  const details: Partial<Record<keyof ErrorDetails, string>> = {};
  for (const detail of raw.details) {
    const split = detail.indexOf('=');
    const name = detailNames.find((known) => known === detail.slice(0, split));
    // A newer peer may send details of names that are not known here.
    if (name !== undefined) details[name] = detail.slice(split + 1);
  }
  return { code: code as ErrorCode, message: raw.errorMessage, details };
}

function writeError(writer: BinaryWriter, error: RemoteError): void {
  text(writer, field.errorCode, error.code);
  text(writer, field.errorMessage, error.message);
  for (const name of detailNames) {
    const value = error.details[name];
    if (value !== undefined) text(writer, field.errorDetail, `${name}=${value}`);
  }
}

function text(writer: BinaryWriter, number: number, value: string): void {
  writer.tag(number, WireType.LengthDelimited).string(value);
}

function need(name: string, value: string): string {
  if (value === '') throw refused(name, 'a text that is not empty', 'none');
  return value;
}

function refused(rule: string, expected: string, found: string): NsmError {
  return new NsmError('INVALID_ARGUMENT', 'not an actor envelope', {
    rule: `actor-envelope.${rule}`,
    expected,
    found,
  });
}
