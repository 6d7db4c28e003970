// The rule for a call's headers, the same in all three bindings, so that what works over one works over the others.
// It is the intersection of gRPC metadata (printable ASCII, lower-case keys) and NATS headers (no line breaks, no
// space at the ends), with bounds that keep a header block within the HTTP/2 default of 64 KiB.

import { NsmError } from '../errors.ts';
import type { Headers } from '../ports/rpc.ts';

/** Bytes of all names and values together. Six path segments with tokens of 2 kB need about 16 kB. */
export const headerBytesMax = 48 * 1024;
export const headerCountMax = 64;

const legalName = /^[0-9a-z_.-]+$/;
// Visible ASCII with spaces only inside; the empty value is legal.
const legalValue = /^(?:[!-~](?:[ -~]*[!-~])?)?$/;
const reservedName =
  /^(?:grpc-|nats-|vwire-)|-bin$|^(?:te|content-type|user-agent|host|connection|date)$/;

/** Throws INVALID_ARGUMENT or RESOURCE_EXHAUSTED where a caller's or handler's headers break the rule. */
export function checkHeaders(headers: Headers): void {
  for (const name in headers) checkHeader(name, headers[name] as string);
  checkHeadersBounds(headers);
}

/** Throws RESOURCE_EXHAUSTED. What a binding has let in is well-formed, and may still be too much. */
export function checkHeadersBounds(headers: Headers): void {
  let bytes = 0;
  let count = 0;
  for (const name in headers) {
    bytes += name.length + (headers[name] as string).length;
    count += 1;
  }
  checkHeaderBounds(count, bytes);
}

export function checkHeader(name: string, value: string): void {
  if (!legalName.test(name) || reservedName.test(name)) {
    throw new NsmError('INVALID_ARGUMENT', 'a header name is not allowed', {
      rule: 'header-name',
      expected: 'lower-case letters, digits, _ . - and no prefix of a transport',
      found: JSON.stringify(name.slice(0, 80)),
    });
  }
  if (typeof value !== 'string' || !legalValue.test(value)) {
    throw new NsmError('INVALID_ARGUMENT', `the value of header ${name} is not allowed`, {
      rule: 'header-value',
      expected: 'printable ASCII without spaces at the ends',
      found: JSON.stringify(String(value).slice(0, 80)),
    });
  }
}

export function checkHeaderBounds(count: number, bytes: number): void {
  if (count > headerCountMax || bytes > headerBytesMax) {
    throw new NsmError('RESOURCE_EXHAUSTED', 'the headers of a call are too large', {
      rule: 'header-bounds',
      expected: `at most ${headerCountMax} headers of ${headerBytesMax} bytes together`,
      found: `${count} headers of ${bytes} bytes`,
    });
  }
}

/** The headers of a foreign message that are a caller's own; what belongs to a transport is left out. */
export function isOwnHeader(name: string): boolean {
  return legalName.test(name) && !reservedName.test(name);
}

/** Any text as a legal header value: percent-encoded UTF-8, a lone surrogate replaced. */
export function encodeText(text: string): string {
  return encodeURIComponent(text.replace(loneSurrogate, '\uFFFD'));
}

const loneSurrogate = /[\uD800-\uDBFF](?![\uDC00-\uDFFF])|(?<![\uD800-\uDBFF])[\uDC00-\uDFFF]/g;

/** The text that `encodeText` encoded, or undefined where the value is not its output. */
export function decodeText(value: string): string | undefined {
  try {
    return decodeURIComponent(value);
  } catch {
    return undefined;
  }
}
