// Reads what Go peers were recorded to say.

import { readFileSync } from 'node:fs';
import { join } from 'node:path';

export interface Exchange {
  readonly from: string;
  readonly to: string;
  readonly what: string;
  /** Full name of the message. */
  readonly type: string;
  readonly metadata: Readonly<Record<string, string>>;
  /** DER of the certificate that the sender had shown, where it says something that it signed. */
  readonly leaf: Uint8Array | undefined;
  readonly bytes: Uint8Array;
}

interface Recorded {
  readonly exchanges: readonly (Omit<Exchange, 'bytes' | 'metadata' | 'leaf'> & {
    readonly metadata?: Exchange['metadata'];
    readonly leaf?: string;
    readonly bytes: string;
  })[];
}

const recorded = JSON.parse(
  readFileSync(join(import.meta.dirname, 'exchanges.json'), 'utf8'),
) as Recorded;

export const exchanges: readonly Exchange[] = recorded.exchanges.map((each) => ({
  ...each,
  metadata: each.metadata ?? {},
  leaf: each.leaf === undefined ? undefined : Buffer.from(each.leaf, 'base64'),
  bytes: Buffer.from(each.bytes, 'base64'),
}));

export function exchange(from: string, what: string): Exchange {
  const found = exchanges.find((each) => each.from === from && each.what === what);
  if (found === undefined) throw new Error(`nothing was recorded as "${what}" of ${from}`);
  return found;
}
