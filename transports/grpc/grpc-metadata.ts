// Headers and refusals as gRPC metadata and status, and back. A Go peer reads the status and its one line; a vwire
// peer finds the error with all its details in the trailer `vwire-error`.

import { Metadata } from '@grpc/grpc-js';
import type { ErrorCode } from '../../protocols/errors.ts';
import { errorCodes, NsmError } from '../../protocols/errors.ts';
import {
  decodeError,
  decodeOperation,
  encodeError,
  encodeOperation,
  errorHeader,
  operationHeader,
} from '../../protocols/messages/call-envelope.ts';
import { isOwnHeader } from '../../protocols/messages/headers.ts';
import type { Headers, Operation } from '../../protocols/ports/rpc.ts';

export function toMetadata(headers: Headers | undefined, operation?: Operation): Metadata {
  const metadata = new Metadata();
  for (const name in headers) metadata.set(name, headers[name] as string);
  if (operation !== undefined) metadata.set(operationHeader, encodeOperation(operation));
  return metadata;
}

/** The peer's own headers: textual ones, of a repeated one the first. */
export function fromMetadata(metadata: Metadata): Headers {
  const headers: Record<string, string> = {};
  const map = metadata.getMap();
  for (const name in map) {
    const value = map[name];
    if (typeof value === 'string' && isOwnHeader(name)) headers[name] = value;
  }
  return headers;
}

/** Errors: INVALID_ARGUMENT where a peer sends one that cannot be read. */
export function readOperation(metadata: Metadata): Operation | undefined {
  const line = metadata.get(operationHeader)[0];
  if (line === undefined) return undefined;
  const operation = decodeOperation(String(line));
  if (operation !== undefined) return operation;
  throw new NsmError('INVALID_ARGUMENT', 'the operation cannot be read', {
    rule: operationHeader,
    expected: 'id, key, epoch and incarnation',
    found: JSON.stringify(String(line).slice(0, 200)),
  });
}

export interface GrpcStatus {
  readonly code: number;
  readonly details: string;
  readonly metadata: Metadata;
}

export function toStatus(error: NsmError): GrpcStatus {
  const metadata = new Metadata();
  metadata.set(errorHeader, encodeError(error));
  return { code: errorCodes[error.code].grpcStatus, details: statusLine(error), metadata };
}

/** Characters of the line that a Go peer shows. */
const statusLineMax = 1000;

function statusLine(error: NsmError): string {
  const details = Object.entries(error.details).map(([name, value]) => `${name}: ${value}`);
  const line = [error.message, ...(details.length > 0 ? [`(${details.join('; ')})`] : [])].join(
    ' ',
  );
  // One line of well-formed text: grpc-js percent-encodes it and throws on half a character.
  return line.slice(0, statusLineMax).replace(unprintable, ' ').replace(loneSurrogate, '?');
}

const unprintable = /\p{Cc}+/gu;
const loneSurrogate = /[\uD800-\uDBFF](?![\uDC00-\uDFFF])|(?<![\uD800-\uDBFF])[\uDC00-\uDFFF]/g;

const codeByNumber = new Map<number, ErrorCode>(
  Object.entries(errorCodes).map(([code, row]) => [row.grpcStatus, code as ErrorCode]),
);

/** grpc-js calls it internal where the peer has ended the connection because of something else that went over it. */
const isConnectionEnded =
  /^Received RST_STREAM with code \d+ triggered by internal client error: Session closed /;

/** What a failed call's status means; the peer's own error where it sent one that agrees with the status. */
export function fromStatus(status: {
  readonly code: number;
  readonly details: string;
  readonly metadata?: Metadata;
}): NsmError {
  const code = isConnectionEnded.test(status.details)
    ? 'UNAVAILABLE'
    : (codeByNumber.get(status.code) ?? 'UNKNOWN');
  const line = status.metadata?.get(errorHeader)[0];
  const sent = decodeError(typeof line === 'string' ? line : undefined);
  return sent?.code === code ? sent : new NsmError(code, status.details, { rule: 'grpc-status' });
}
