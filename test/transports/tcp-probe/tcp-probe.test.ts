// Protects the probe of a TCP service: it tells who refuses from what this side cannot do, and leaves nothing
// open.

import { once } from 'node:events';
import { createServer } from 'node:net';
import { expect, it } from 'vitest';

import { contactTcp } from '../../../transports/tcp-probe/tcp-probe.ts';

const never = () => new AbortController().signal;

async function listening() {
  const errors: Error[] = [];
  const server = createServer((socket) =>
    socket.on('error', (error) => errors.push(error)).resume(),
  );
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('no port');
  return {
    port: address.port,
    errors,
    close: () => new Promise((resolve) => server.close(resolve)),
  };
}

it('reaches a service that listens, and is refused where none does', async () => {
  const { port, errors, close } = await listening();
  const options = { port, timeoutMs: 2_000, signal: never() };
  for (let count = 0; count < 20; count += 1) {
    expect(await contactTcp('127.0.0.1', options)).toBe('connected');
  }
  // Resolves only once no connection is left.
  await close();
  expect(errors, 'what the service met').toEqual([]);
  expect(await contactTcp('127.0.0.1', options)).toBe('refused');
});

it('is hindered where there is no way from here, or it is given up', async () => {
  const options = { port: 9, timeoutMs: 2_000, signal: never() };
  expect(await contactTcp('not an address', options)).toBe('hindered');
  const stop = new AbortController();
  const contacting = contactTcp('127.0.0.1', { ...options, signal: stop.signal });
  stop.abort();
  expect(await contacting).not.toBe('connected');
  expect(await contactTcp('127.0.0.1', { ...options, signal: stop.signal })).toBe('hindered');
});
