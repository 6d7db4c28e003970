// Makes any value fit to be logged: secrets are replaced, whether they are known by their field's name or by their
// shape, and everything is bounded in depth, number and length. Invariant: the result is plain JSON data.

import { asNsmError, NsmError } from '../../protocols/errors.ts';

const depthMax = 6;
const itemsMax = 100;
const lengthMax = 4096;

const redacted = '[redacted]';
const secretName =
  /token|authorization|secret|passw|credential|private.?key|^key$|svid|jwt|nkey|seed/i;

/** A JWT is three base64url parts, the first of which encodes `{"`; a cut-off one is one as well. */
const secretShapes: readonly RegExp[] = [
  /eyJ[\w-]{8,}(?:\.[\w-]*){0,2}/g,
  /-----BEGIN [A-Z ]*PRIVATE KEY-----[\s\S]*?(?:-----END [A-Z ]*PRIVATE KEY-----|$)/g,
  // NATS seeds: S, a type letter, base32.
  /\bS[ACNOUX][A-Z2-7]{50,}\b/g,
  // user:password@ in a URL.
  /(?<=:\/\/)[^/\s:@]+:[^/\s@]+(?=@)/g,
];

/** The text with everything that has the shape of a secret replaced, cut at 4,096 characters. */
export function redactText(text: string): string {
  const clean = secretShapes.reduce((current, shape) => current.replace(shape, redacted), text);
  return clean.length > lengthMax ? `${clean.slice(0, lengthMax)}…` : clean;
}

function redactError(error: Error, depth: number): unknown {
  const { code, details } = asNsmError(error);
  const isOperating = error instanceof NsmError;
  return {
    message: redactText(error.message),
    ...(isOperating ? { code, ...redactEntries(Object.entries(details), depth + 1) } : {}),
    // Where an operating error was made is of no interest; where an unexpected one was thrown is.
    ...(isOperating || error.stack === undefined ? {} : { stack: redactText(error.stack) }),
    ...(error.cause === undefined ? {} : { cause: redactValue(error.cause, depth + 1) }),
  };
}

function redactEntries(
  entries: readonly (readonly [unknown, unknown])[],
  depth: number,
): Record<string, unknown> {
  return Object.fromEntries(
    entries.slice(0, itemsMax).map(([key, value]) => {
      const name = redactText(String(key));
      const isSecret =
        secretName.test(name) &&
        value !== undefined &&
        !['number', 'boolean', 'bigint'].includes(typeof value);
      return [name, isSecret ? redacted : redactValue(value, depth)];
    }),
  );
}

function redactObject(value: object, depth: number): unknown {
  if (value instanceof Error) return redactError(value, depth);
  if (value instanceof Uint8Array) return `<${value.length} bytes>`;
  if (value instanceof Date) return value.toISOString();
  if (value instanceof Map) return redactEntries([...value], depth + 1);
  if (Array.isArray(value) || value instanceof Set) {
    return [...value].slice(0, itemsMax).map((item) => redactValue(item, depth + 1));
  }
  return redactEntries(Object.entries(value), depth + 1);
}

function redactValue(value: unknown, depth: number): unknown {
  switch (typeof value) {
    case 'string':
      return redactText(value);
    case 'bigint':
      return value.toString();
    case 'function':
    case 'symbol':
      return `<${typeof value}>`;
    case 'object':
      if (value === null) return null;
      return depth >= depthMax ? '<deeper>' : redactObject(value, depth);
    case 'boolean':
    case 'number':
    case 'undefined':
      return value;
  }
}

/** Names that a log line itself uses; a field of such a name gets a trailing underscore. */
const ownNames = new Set(['level', 'time', 'msg']);

/** The fields of a log line without secrets, as plain JSON data. */
export const redactFields = (fields: Readonly<Record<string, unknown>>): Record<string, unknown> =>
  redactEntries(
    Object.entries(fields).map(([key, value]) => [ownNames.has(key) ? `${key}_` : key, value]),
    0,
  );
