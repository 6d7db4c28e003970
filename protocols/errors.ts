// The one error class of the project and the table of its codes.
// An operating error is a value with a code: it is answered, logged once at the edge, and never crashes an actor.
// The gRPC numbers are those of google.rpc.Code; the mapping to a transport is made only in transports/.

/** What a code means, for peers and for people. */
export interface ErrorCodeRow {
  /** google.rpc.Code number that a gRPC peer sees. */
  readonly grpcStatus: number;
  /** True where the same call may succeed later without a change. */
  readonly retryable: boolean;
  readonly meaning: string;
}

export const errorCodes = {
  CANCELLED: { grpcStatus: 1, retryable: false, meaning: 'the caller gave the call up' },
  UNKNOWN: { grpcStatus: 2, retryable: true, meaning: 'a peer failed without saying why' },
  INVALID_ARGUMENT: {
    grpcStatus: 3,
    retryable: false,
    meaning: 'the message breaks a rule of its own format',
  },
  DEADLINE_EXCEEDED: { grpcStatus: 4, retryable: true, meaning: 'no answer in the time given' },
  NOT_FOUND: { grpcStatus: 5, retryable: true, meaning: 'a named thing is not there' },
  ALREADY_EXISTS: { grpcStatus: 6, retryable: false, meaning: 'the name is taken' },
  PERMISSION_DENIED: { grpcStatus: 7, retryable: false, meaning: 'a rule refuses it' },
  RESOURCE_EXHAUSTED: { grpcStatus: 8, retryable: true, meaning: 'a bound has been reached' },
  FAILED_PRECONDITION: {
    grpcStatus: 9,
    retryable: false,
    meaning: 'the state of the system does not allow it',
  },
  ABORTED: { grpcStatus: 10, retryable: true, meaning: 'a concurrent change won' },
  OUT_OF_RANGE: { grpcStatus: 11, retryable: false, meaning: 'a value lies outside its range' },
  UNIMPLEMENTED: { grpcStatus: 12, retryable: false, meaning: 'this peer does not serve it' },
  INTERNAL: { grpcStatus: 13, retryable: false, meaning: 'an invariant of ours is broken' },
  UNAVAILABLE: { grpcStatus: 14, retryable: true, meaning: 'the peer cannot be reached' },
  DATA_LOSS: { grpcStatus: 15, retryable: false, meaning: 'stored data is damaged' },
  UNAUTHENTICATED: { grpcStatus: 16, retryable: false, meaning: 'the caller proved no identity' },
} as const satisfies Record<string, ErrorCodeRow>;

export type ErrorCode = keyof typeof errorCodes;

/** Where and what, so that a refusal can be acted on and explained later. */
export interface ErrorDetails {
  /** Which hop refused, by its component name. */
  readonly hop?: string;
  /** Which rule, field or step. */
  readonly rule?: string;
  readonly expected?: string;
  readonly found?: string;
  /** What the reader can do about it. */
  readonly remedy?: string;
  readonly connectionId?: string;
}

export class NsmError extends Error {
  override readonly name = 'NsmError';
  readonly code: ErrorCode;
  readonly details: ErrorDetails;

  constructor(code: ErrorCode, message: string, details: ErrorDetails & { cause?: unknown } = {}) {
    const { cause, ...rest } = details;
    super(message, cause === undefined ? undefined : { cause });
    this.code = code;
    this.details = rest;
  }
}

/** Any thrown value as an NsmError; what is not one becomes INTERNAL, since nobody meant to throw it. */
export function asNsmError(thrown: unknown): NsmError {
  if (thrown instanceof NsmError) return thrown;
  const message = thrown instanceof Error ? thrown.message : String(thrown);
  return new NsmError('INTERNAL', message, { cause: thrown });
}

const detailNames = ['hop', 'rule', 'expected', 'found', 'remedy', 'connectionId'] as const;

/** One line for a person: the message, then each detail by name. */
export function describeError(thrown: unknown): string {
  const error = asNsmError(thrown);
  const parts = detailNames
    .filter((name) => error.details[name] !== undefined)
    .map((name) => `${name}: ${error.details[name]}`);
  return `${error.code}: ${error.message}${parts.length > 0 ? ` (${parts.join('; ')})` : ''}`;
}

/** For broken invariants only: the supervisor decides what happens next. */
export function invariant(condition: unknown, message: string): asserts condition {
  if (!condition) throw new Error(`invariant broken: ${message}`);
}
