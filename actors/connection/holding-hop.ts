// Keeps the files that a connection's mechanisms name for as long as the connection lives. What has come with a Request
// is there only during that Request otherwise.
// Invariant: a connection that has ended holds nothing.

import { NsmError } from '../../protocols/errors.ts';
import { inodeUrlsOf } from '../../protocols/nsm/mechanism.ts';
import type { HeldFiles } from '../../protocols/ports/descriptors.ts';
import type { Hop, LocalPartRule } from './hop.ts';

const localPartRule: LocalPartRule = 'local-part';

export function holdingHop(hop: Hop, files: HeldFiles): Hop {
  return {
    ...hop,
    async request(request) {
      const result = await hop.request(request);
      const { connection, memory } = result;
      files.hold(connection.id, inodeUrlsOf([connection.mechanism, memory.onwardMechanism]));
      return result;
    },
    async close(...[connection, memory, call]: Parameters<Hop['close']>) {
      try {
        await hop.close(connection, memory, call);
      } catch (error) {
        // What is still there is closed again, and may need its files for it.
        if (isLocalPart(error)) throw error;
        files.release(connection.id);
        throw error;
      }
      files.release(connection.id);
    },
  };
}

function isLocalPart(error: unknown): boolean {
  return error instanceof NsmError && error.details.rule === localPartRule;
}
