// Counters of the interfaces in the process's own network namespace, from /proc, which needs no right.

import { readFile } from 'node:fs/promises';
import { NsmError } from '../../protocols/errors.ts';
import type { ReceivedPackets } from '../../protocols/ports/received-packets.ts';

const file = '/proc/self/net/dev';

export const receivedPackets: ReceivedPackets = async (interfaceName) =>
  receivedPacketsIn(await textOf(file), interfaceName);

/** `text` as /proc/net/dev has it: `name: bytes packets ...` of what was received, then of what was sent. */
export function receivedPacketsIn(text: string, interfaceName: string): bigint | undefined {
  for (const line of text.split('\n')) {
    const [, name, packets] = /^\s*(\S+):\s*\d+\s+(\d+)\s/.exec(line) ?? [];
    if (name === interfaceName && packets !== undefined) return BigInt(packets);
  }
  return undefined;
}

async function textOf(path: string): Promise<string> {
  try {
    return await readFile(path, 'utf8');
  } catch (error) {
    throw new NsmError('UNAVAILABLE', `could not read ${path}`, {
      found: (error as NodeJS.ErrnoException).code ?? String(error),
      cause: error,
    });
  }
}
