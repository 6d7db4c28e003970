// Protects the choice of a binding by the URL's scheme: each form that NSM writes reaches the right one, anything
// else and a binding that the process lacks is refused with the forms that would do.

import { expect, it } from 'vitest';
import type { Dialer, Listener } from '../../protocols/ports/rpc.ts';
import { dialByScheme, listenByScheme } from '../../transports/dial-by-scheme.ts';
import { failure } from '../contract/rpc.ts';

const named = (name: string): { dialer: Dialer; listener: Listener } => ({
  dialer: {
    dial: (url) => ({ url: `${name} ${url}`, client: () => ({}) as never }),
    close: () => Promise.resolve(),
  },
  listener: {
    listen: (url) => Promise.resolve({ url: `${name} ${url}`, close: () => Promise.resolve() }),
  },
});

it('chooses by scheme', async () => {
  const bindings = { memory: named('memory'), nats: named('nats'), grpc: named('grpc') };
  const dialer = dialByScheme(bindings);
  const expected = {
    'memory:nsmgr': 'memory',
    'nats://dom/node/nsmgr': 'nats',
    'unix:///var/lib/nsm.io.sock': 'grpc',
    'tcp://:5001': 'grpc',
    'registry:5002': 'grpc',
    '[::1]:5002': 'grpc',
  };
  for (const [url, name] of Object.entries(expected)) {
    expect(dialer.dial(url).url).toBe(`${name} ${url}`);
    expect((await listenByScheme(bindings).listen(url, [])).url).toBe(`${name} ${url}`);
  }
  await dialer.close();
});

it('refuses a scheme that it does not know, and a binding that is not there', async () => {
  const dialer = dialByScheme({ memory: named('memory') });
  for (const url of ['nats://a/b/c', 'http://a', 'inode://1/2', 'registry', '']) {
    expect(() => dialer.dial(url), url).toThrow(/no binding/);
  }
  expect((await failure(listenByScheme({}).listen('memory:a', []))).code).toBe('INVALID_ARGUMENT');
});
