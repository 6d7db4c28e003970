// What an OVSDB server refuses, in words: error names of RFC 7047 sections 3.1, 4.1 and 5.2, turned into the
// project's errors. The server's own details name table and column; they are quoted, and parsed where they can be.

import type { ErrorCode } from '../errors.ts';
import { NsmError } from '../errors.ts';

const codeByError: Readonly<Record<string, ErrorCode>> = {
  'constraint violation': 'FAILED_PRECONDITION',
  'referential integrity violation': 'FAILED_PRECONDITION',
  'timed out': 'ABORTED',
  aborted: 'ABORTED',
  canceled: 'CANCELLED',
  'resources exhausted': 'RESOURCE_EXHAUSTED',
  'I/O error': 'UNAVAILABLE',
  'not leader': 'UNAVAILABLE',
  'not allowed': 'PERMISSION_DENIED',
  'permission error': 'PERMISSION_DENIED',
  'unknown database': 'NOT_FOUND',
  'unknown method': 'UNIMPLEMENTED',
  'not supported': 'UNIMPLEMENTED',
  'domain error': 'OUT_OF_RANGE',
  'range error': 'OUT_OF_RANGE',
};

/** In Open vSwitch 3.1's words: `... to have identical values (...) for index on column "name".` */
const indexViolation = /identical values .* for index on/;

/** `Bridge.name` from the details of Open vSwitch 3.1's ovsdb-server, where they name table and column. */
function columnIn(details: string): string | undefined {
  const table = /"(\w+)" table|[Tt]able (?!named)"?(\w+)"?/.exec(details);
  const column = /column "?(\w+)"?/.exec(details)?.[1];
  if (table === null || column === undefined) return undefined;
  return `${table[1] ?? table[2]}.${column}`;
}

const remedies: Readonly<Record<string, string>> = {
  'timed out': 'a condition of the transaction does not hold: look again, then decide',
  'unknown database': 'look which databases the server serves (list_dbs)',
  'unknown method': 'use an ovsdb-server that knows it',
};

/** `what` names the request or operation, as in `operation 2 of 5, insert Port`. */
export function ovsdbRefusal(error: string, details: string, what: string): NsmError {
  const isTaken = indexViolation.test(details);
  const code = isTaken ? 'ALREADY_EXISTS' : (codeByError[error] ?? 'INVALID_ARGUMENT');
  const column = columnIn(details);
  const remedy = remedies[error];
  return new NsmError(code, `the database refused a request: ${error}`, {
    rule: column === undefined ? what : `${what}, ${column}`,
    found: details === '' ? error : details,
    ...(remedy === undefined ? {} : { remedy }),
  });
}
