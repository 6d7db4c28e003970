// Messages as the bytes that gRPC carries. Encoding is done here and not inside grpc-js, so that a message's size is
// checked where the error can name it, and a request that cannot be decoded is refused and not an internal error.

import type { DescMessage, Message } from '@bufbuild/protobuf';
import { fromBinary, toBinary } from '@bufbuild/protobuf';
import { NsmError } from '../../protocols/errors.ts';

/** Bytes of one message in either direction; what a Go peer accepts unless configured (grpc-go, server and client). */
export const messageBytesMaxDefault = 4 * 1024 * 1024;

/** Errors: INVALID_ARGUMENT where the message is no such one, RESOURCE_EXHAUSTED where it is too large. */
export function encodeMessage(schema: DescMessage, message: Message, bytesMax: number): Uint8Array {
  let bytes: Uint8Array;
  try {
    bytes = toBinary(schema, message);
  } catch (cause) {
    throw notA(schema, cause);
  }
  if (bytes.length > bytesMax) {
    throw new NsmError('RESOURCE_EXHAUSTED', 'the message is too large for gRPC', {
      rule: 'message-size',
      expected: `at most ${bytesMax} bytes`,
      found: `${bytes.length} bytes`,
    });
  }
  return bytes;
}

/** The message, or why it is none: grpc-js has no use for an error thrown while it decodes. */
export function decodeMessage(schema: DescMessage, bytes: Uint8Array): Message | NsmError {
  try {
    return fromBinary(schema, bytes);
  } catch (cause) {
    return notA(schema, cause);
  }
}

export function asBuffer(bytes: Uint8Array): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
}

function notA(schema: DescMessage, cause: unknown): NsmError {
  return new NsmError('INVALID_ARGUMENT', 'a message cannot be encoded or decoded', {
    rule: 'message-encoding',
    expected: schema.typeName,
    found: cause instanceof Error ? cause.message : String(cause),
    cause,
  });
}
