// The header block of a NATS message, read and written here and not by the client library: its reader is quadratic
// in the number of headers, so one hostile message of 1 MiB would hold the process for minutes, and its writer costs
// more than the rest of a call. Bounds are checked on the raw length, before anything is taken apart.

import type { Msg, MsgHdrs } from '@nats-io/transport-node';
import { NsmError } from '../../protocols/errors.ts';
import { headerBytesMax, headerCountMax, isOwnHeader } from '../../protocols/messages/headers.ts';
import type { Headers } from '../../protocols/ports/rpc.ts';

const preamble = 'NATS/1.0';
/** What the project's own headers may add to a caller's (an error with all its details). */
const ownBytesMax = 16 * 1024;
const ownCountMax = 8;

/** Names and values are ASCII and without line breaks: checked or made so by protocols/messages. */
export function encodeHeaderBlock(headers: Headers): Uint8Array {
  let text = `${preamble}\r\n`;
  for (const name in headers) text += `${name}: ${headers[name]}\r\n`;
  return Buffer.from(`${text}\r\n`, 'latin1');
}

/** The library's publish asks its headers for nothing but their bytes. */
export function asLibraryHeaders(block: Uint8Array): MsgHdrs {
  return { encode: () => block } as unknown as MsgHdrs;
}

export interface HeaderBlock {
  /** Status of the server itself, 503 for no responders; 0 in a message of a peer. */
  readonly status: number;
  /** All headers by lower-case name; of a repeated one the first. */
  readonly headers: Headers;
}

/** Throws RESOURCE_EXHAUSTED beyond the bounds; what is not of the form is left out. */
export function decodeHeaderBlock(bytes: Uint8Array): HeaderBlock {
  checkBound('bytes', bytes.length, headerBytesMax + ownBytesMax);
  const text = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString('latin1');
  const lines = text.split('\r\n', headerCountMax + ownCountMax + 3);
  checkBound('lines', lines.length, headerCountMax + ownCountMax + 2);
  const headers: Record<string, string> = Object.create(null);
  for (let at = 1; at < lines.length; at += 1) {
    const line = lines[at] as string;
    const colon = line.indexOf(':');
    if (colon < 1) continue;
    const name = line.slice(0, colon).toLowerCase();
    headers[name] ??= line.slice(colon + 1).trim();
  }
  const status = /^NATS\/1\.0 +(\d{3})\b/.exec(lines[0] as string)?.[1];
  return { status: Number(status ?? 0), headers };
}

const noHeaderBlock: HeaderBlock = Object.freeze({ status: 0, headers: Object.freeze({}) });

/** The library's message holds the raw block and its length; by its public face it can only be read parsed. */
interface RawMessage {
  readonly _msg?: { readonly hdr?: number };
  readonly _rdata?: Uint8Array;
}

export function readHeaderBlock(message: Msg): HeaderBlock {
  const { _msg: line, _rdata: data } = message as unknown as RawMessage;
  if (typeof line?.hdr !== 'number' || !(data instanceof Uint8Array)) {
    throw new Error('invariant broken: the NATS client no longer exposes the raw header block');
  }
  return line.hdr > 0 ? decodeHeaderBlock(data.subarray(0, line.hdr)) : noHeaderBlock;
}

/** The headers that a caller or handler set itself. */
export function userHeaders(headers: Headers): Headers {
  const own: Record<string, string> = {};
  for (const name in headers) if (isOwnHeader(name)) own[name] = headers[name] as string;
  return own;
}

function checkBound(what: string, found: number, max: number): void {
  if (found <= max) return;
  throw new NsmError('RESOURCE_EXHAUSTED', 'the header block of a message is too large', {
    rule: 'header-bounds',
    expected: `at most ${max} ${what}`,
    found: `${found} ${what}`,
  });
}
