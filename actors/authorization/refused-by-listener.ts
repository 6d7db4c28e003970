// What a listener turned away, as a denial of the audit log.

import type { AuditEntry } from '../../protocols/ports/audit.ts';
import type { Refusal } from '../../protocols/ports/refusal.ts';

export function refusedByListener(
  { error, peer, operation = 'Connect' }: Refusal,
  at: Pick<AuditEntry, 'hop' | 'self'>,
): AuditEntry {
  const { rule = 'tls-handshake', expected, found = error.message } = error.details;
  return {
    decision: 'denied',
    operation,
    ...at,
    ...(peer !== undefined && { peer }),
    rule,
    ...(expected !== undefined && { expected }),
    found,
  };
}
