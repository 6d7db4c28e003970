// What JetStream's refusals mean for a registry store.

import { JetStreamApiCodes, JetStreamApiError } from '@nats-io/jetstream';
import { describeError, NsmError } from '../../protocols/errors.ts';

const wrongRevision: readonly number[] = [
  JetStreamApiCodes.StreamWrongLastSequence,
  JetStreamApiCodes.StreamWrongLastSequenceUnknown,
];

/**
 * ABORTED for a fence that did not hold, else UNAVAILABLE: also "jetstream is not enabled", which a cluster
 * without a leader answers for a while, and a stream that is gone, which is made again.
 */
export function asStoreError(error: unknown, what: string): NsmError {
  if (error instanceof NsmError) return error;
  if (error instanceof JetStreamApiError && wrongRevision.includes(error.code)) {
    return new NsmError('ABORTED', 'the entry was changed by somebody else', {
      rule: 'registry-store-revision',
      expected: what,
      found: error.message,
      cause: error,
    });
  }
  return new NsmError('UNAVAILABLE', 'the registry store did not answer', {
    rule: 'registry-store',
    expected: what,
    found: error instanceof Error ? error.message : describeError(error),
    remedy: 'look after JetStream; the registry goes on without it',
    cause: error,
  });
}
