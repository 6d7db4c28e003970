// gRPC status codes as the project's errors and back.

import type { ServiceError } from '@grpc/grpc-js';
import type { ErrorCode } from '../../protocols/errors.ts';
import { asNsmError, describeError, errorCodes, NsmError } from '../../protocols/errors.ts';

const codes = new Map<number, ErrorCode>(
  Object.entries(errorCodes).map(([code, row]) => [row.grpcStatus, code as ErrorCode]),
);

/** Characters of a peer's text that are kept. */
const detailsMax = 500;

/** A failed call to the Workload API. Its text is the server's word, shortened. */
export function fromStatus(
  status: Pick<ServiceError, 'code' | 'details'>,
  endpoint: string,
): NsmError {
  return new NsmError(codes.get(status.code) ?? 'UNKNOWN', 'the Workload API refused or failed', {
    rule: 'workload-api',
    expected: `an answer from ${endpoint}`,
    found: status.details.slice(0, detailsMax),
  });
}

export function toStatus(thrown: unknown): { readonly code: number; readonly details: string } {
  const error = asNsmError(thrown);
  return {
    code: errorCodes[error.code].grpcStatus,
    details: describeError(error)
      .slice(0, detailsMax)
      .replace(/\p{C}+/gu, ' '),
  };
}
