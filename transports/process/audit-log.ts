// Where decisions about calls are written: a file of their own, one JSON line each, or the process's log. Lines of the file
// are written at once, so that none is lost when the process is killed; it is the operator's to rotate (copy and truncate).
// Invariant: every line passes through redact.ts, although no token should ever come here.

import { closeSync, openSync, writeSync } from 'node:fs';
import { describeError, NsmError } from '../../protocols/errors.ts';
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
  const descriptor = open(file);
  return {
    write(record) {
      const time = new Date().toISOString();
      try {
        writeSync(descriptor, `${JSON.stringify({ time, ...redactFields({ ...record }) })}\n`);
      } catch (error) {
        // A full disk is no reason to stop a mesh; the line is not lost.
        log.error('the audit log cannot be written', { ...record, error: describeError(error) });
      }
    },
    close: () => closeSync(descriptor),
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
