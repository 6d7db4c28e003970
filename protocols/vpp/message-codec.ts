// One message of the API as bytes: its id, what identifies sender and call, its fields.
// Invariants: ids come from the VPP that is connected, never from here; what cannot be encoded or decoded is one
// NsmError that names message and field.

import { NsmError } from '../errors.ts';
import type { ApiMessage } from './api-definition.ts';
import type { ModuleCompiler } from './compile-api.ts';
import type { VppFields } from './values.ts';
import type { ValueCodec } from './value-codec.ts';
import { FieldProblem, VppReader, VppWriter } from './wire-bytes.ts';

/** What precedes the fields: of a request both, of an answer `context`, of an event `clientIndex`. */
export interface MessageHeader {
  readonly clientIndex?: number;
  readonly context?: number;
}

export interface DecodedMessage {
  readonly header: MessageHeader;
  readonly fields: VppFields;
}

export interface MessageCodec {
  readonly name: string;
  /** `sw_interface_dump_aa610c27`, as VPP's own table has it. */
  readonly key: string;
  readonly body: ValueCodec;
  /** True where the context follows the id, and with it what the message answers. */
  readonly isAnswer: boolean;
  encode(id: number, header: MessageHeader, fields: VppFields): Uint8Array;
  /** Bytes after the last field are let pass: VPP allocates some answers larger than they are. */
  decode(bytes: Uint8Array): DecodedMessage;
}

export function createMessageCodec(message: ApiMessage, compiler: ModuleCompiler): MessageCodec {
  const header = message.fields
    .slice(0, 2)
    .filter(({ name }, index, [first]) => isHeader(name) && (index === 0 || isHeader(first?.name)))
    .map(({ name }) => name);
  const fields = message.fields.slice(header.length);
  const body = compiler.struct({ name: message.name, fields }, 'message');
  const { name } = message;
  return {
    name,
    key: `${name}_${message.crc}`,
    body,
    isAnswer: header[0] === 'context',
    encode(id, { clientIndex = 0, context = 0 }, values) {
      const writer = new VppWriter();
      writer.u16(id);
      for (const field of header) writer.u32(field === 'context' ? context : clientIndex);
      attempt(name, 'request', () => body.encode(writer, values));
      return writer.finish();
    },
    decode(bytes) {
      return attempt(name, 'message', () => {
        const reader = new VppReader(bytes);
        reader.take(2);
        const found: { clientIndex?: number; context?: number } = {};
        for (const field of header) {
          found[field === 'context' ? 'context' : 'clientIndex'] = reader.u32();
        }
        return { header: found, fields: body.decode(reader) as VppFields };
      });
    },
  };
}

function isHeader(name: string | undefined): boolean {
  return name === 'client_index' || name === 'context';
}

function attempt<Result>(message: string, what: string, act: () => Result): Result {
  try {
    return act();
  } catch (error) {
    if (!(error instanceof FieldProblem)) throw error;
    const { path, expected, found } = error;
    throw new NsmError('INVALID_ARGUMENT', `a VPP ${what} breaks its format`, {
      rule: path === '' ? message : `${message}.${path}`,
      expected,
      found,
    });
  }
}

/** The id that a message begins with; undefined where it is too short for one. */
export function messageIdOf(bytes: Uint8Array): number | undefined {
  const [high, low] = bytes;
  return high === undefined || low === undefined ? undefined : (high << 8) | low;
}

/** The context of an answer, without decoding it. */
export function answerContextOf(bytes: Uint8Array): number | undefined {
  if (bytes.length < 6) return undefined;
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength).getUint32(2);
}
