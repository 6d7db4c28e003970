// Tries once whether a TCP service takes a connection, from the process's own network namespace.
// Invariants: never rejects; ends within its time; the connection is closed at once and in order, since a reset is an error
// that a service may not bear.

import { Socket } from 'node:net';

import type { Contact, ContactService } from '../../protocols/ports/liveness.ts';

/** What the other end, or a router on the way, says of itself. All else comes from this side. */
const refusals: readonly string[] = ['ECONNREFUSED', 'ECONNRESET', 'EHOSTUNREACH', 'EHOSTDOWN'];

export const contactTcp: ContactService = (address, { port, timeoutMs, signal }) =>
  new Promise<Contact>((resolve) => {
    const socket = new Socket();
    const end = (contact: Contact): void => {
      clearTimeout(timer);
      signal.removeEventListener('abort', onAbort);
      socket.destroy();
      resolve(contact);
    };
    const onAbort = (): void => end('hindered');
    const timer = setTimeout(() => end('unanswered'), timeoutMs);
    socket.once('connect', () => end('connected'));
    socket.on('error', ({ code = '' }: NodeJS.ErrnoException) => {
      if (code === 'ETIMEDOUT') end('unanswered');
      else end(refusals.includes(code) ? 'refused' : 'hindered');
    });
    if (signal.aborted) end('hindered');
    else {
      signal.addEventListener('abort', onAbort);
      socket.connect({ host: address, port });
    }
  });
