// JSON-RPC 1.0 messages as OVSDB uses them (RFC 7047 section 4), told apart and checked, and results of transactions.

import { NsmError } from '../errors.ts';
import type { JsonObject } from './json-frames.ts';
import { ovsdbRefusal } from './ovsdb-errors.ts';
import type { OvsdbOperation } from './ovsdb-operations.ts';
import { describeOperation } from './ovsdb-operations.ts';
import type { OvsdbRow } from './ovsdb-values.ts';
import { asRow, asValue, uuidsOf } from './ovsdb-values.ts';

export type OvsdbMessage =
  | {
      readonly kind: 'request';
      readonly id: unknown;
      readonly method: string;
      readonly params: readonly unknown[];
    }
  | {
      readonly kind: 'notification';
      readonly method: string;
      readonly params: readonly unknown[];
    }
  | {
      readonly kind: 'response';
      readonly id: unknown;
      readonly result: unknown;
      /** Undefined where the request succeeded. */
      readonly error: OvsdbFailure | undefined;
    };

/** As the server says it. */
export interface OvsdbFailure {
  readonly error: string;
  readonly details: string;
}

/** What one operation did: rows of a select, number of rows changed, identity of the row inserted. */
export interface OvsdbResult {
  readonly rows: readonly OvsdbRow[];
  readonly count: number;
  readonly uuid: string | undefined;
}

function malformedMessage(expected: string, found: unknown): NsmError {
  return new NsmError('INVALID_ARGUMENT', 'an OVSDB message breaks its format', {
    rule: 'JSON-RPC message',
    expected,
    found: JSON.stringify(found)?.slice(0, 120) ?? String(found),
  });
}

function isObject(value: unknown): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

export function decodeOvsdbMessage(message: JsonObject): OvsdbMessage {
  const { id, method, params } = message;
  if (method !== undefined) {
    if (typeof method !== 'string' || !Array.isArray(params)) {
      throw malformedMessage('a method with a list of parameters', message);
    }
    if (id === null || id === undefined) return { kind: 'notification', method, params };
    return { kind: 'request', id, method, params };
  }
  if (id === undefined || id === null || !('result' in message || 'error' in message)) {
    throw malformedMessage('a request, a notification or a response', message);
  }
  const { result, error } = message;
  const isFailure = error !== undefined && error !== null;
  return { kind: 'response', id, result, error: isFailure ? failureOf(error) : undefined };
}

function failureOf(error: unknown): OvsdbFailure {
  if (typeof error === 'string') return { error, details: '' };
  if (!isObject(error)) return { error: JSON.stringify(error), details: '' };
  const { error: name, details } = error;
  return {
    error: typeof name === 'string' ? name : JSON.stringify(error),
    details: typeof details === 'string' ? details : '',
  };
}

/**
 * The results of a transaction, one per operation. Throws where one of them failed, naming it, or where the commit
 * did (the server then sends one result more).
 */
export function readTransactResults(
  operations: readonly OvsdbOperation[],
  result: unknown,
): OvsdbResult[] {
  if (!Array.isArray(result)) throw malformedMessage('a list of results', result);
  const results = result as readonly unknown[];
  for (const [index, item] of results.entries()) {
    if (!isObject(item) || item['error'] === undefined) continue;
    const { error, details } = failureOf(item);
    throw ovsdbRefusal(error, details, placeOf(operations, index));
  }
  if (results.length < operations.length) {
    throw malformedMessage(`${operations.length} results`, results);
  }
  return operations.map((_, index) => readResult(results[index]));
}

function placeOf(operations: readonly OvsdbOperation[], index: number): string {
  const operation = operations[index];
  if (operation === undefined) return 'commit';
  return `operation ${index + 1} of ${operations.length}, ${describeOperation(operation)}`;
}

function readResult(item: unknown): OvsdbResult {
  if (!isObject(item)) return { rows: [], count: 0, uuid: undefined };
  const { rows, count, uuid } = item;
  return {
    rows: Array.isArray(rows) ? rows.map(asRow) : [],
    count: typeof count === 'number' ? count : 0,
    uuid: uuid === undefined ? undefined : uuidsOf(asValue(uuid))[0],
  };
}
