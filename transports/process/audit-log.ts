// Where decisions about calls are written: a file of their own, one JSON line each, or the process's log. Lines of the file
// are written at once, so that none is lost when the process is killed; it is the operator's to rotate (copy and truncate).
// Invariant: every line passes through redact.ts, although no token should ever come here.

import { openSync } from 'node:fs';
import pino from 'pino';
import { NsmError } from '../../protocols/errors.ts';
import type { AuditLog } from '../../protocols/ports/audit.ts';
import type { Log } from '../../protocols/ports/log.ts';
import { redactFields } from './redact.ts';

export interface OpenAuditLog extends AuditLog {
  close(): void;
}

/** Errors: UNAVAILABLE. */
export function openAuditLog({
  log,
  file,
}: {
  readonly log: Log;
  readonly file?: string;
}): OpenAuditLog {
  if (file === undefined) {
    return {
      write: ({ decision, ...fields }) =>
        decision === 'granted' ? log.info(decision, fields) : log.warn(decision, fields),
      close: () => {},
    };
  }
  const destination = pino.destination({ dest: open(file), sync: true });
  const logger = pino(
    { base: null, timestamp: pino.stdTimeFunctions.isoTime, formatters: { level: () => ({}) } },
    destination,
  );
  return {
    write: (record) => logger.info(redactFields({ ...record })),
    close: () => destination.end(),
  };
}

function open(file: string): number {
  try {
    return openSync(file, 'a', 0o640);
  } catch (error) {
    throw new NsmError('UNAVAILABLE', 'the audit log cannot be opened', {
      rule: 'VWIRE_AUDIT_LOG',
      expected: 'a file that may be appended to, in a directory that is there',
      found: `${file}: ${(error as NodeJS.ErrnoException).code ?? String(error)}`,
    });
  }
}
