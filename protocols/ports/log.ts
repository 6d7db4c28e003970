// Structured logging. Messages are constant texts in the past tense; what varies goes into the fields.
// Never put a token or a key into a field.

export type LogFields = Readonly<Record<string, unknown>>;

export interface Log {
  /** Needs a human. */
  error(message: string, fields?: LogFields): void;
  /** Handled, but abnormal. */
  warn(message: string, fields?: LogFields): void;
  /** A transition in a life cycle. */
  info(message: string, fields?: LogFields): void;
  debug(message: string, fields?: LogFields): void;
  /** The same log with `fields` bound to every line. */
  child(fields: LogFields): Log;
}

export const silentLog: Log = {
  error: () => {},
  warn: () => {},
  info: () => {},
  debug: () => {},
  child: () => silentLog,
};
