// Protects ping as the judge of a wire: it counts what comes back, reports loss as loss, and ends in time.

import { describe, expect, test } from 'vitest';

import { ping } from '../../../transports/icmp/ping.ts';
import { createSandbox, whyNoNamespaces } from '../../sandbox/namespaces.ts';

const reason = whyNoNamespaces();

describe.skipIf(reason !== undefined)(`ping ${reason ?? ''}`, () => {
  test('answers come from IPv4 and IPv6 loopback of a namespace', async () => {
    const sandbox = createSandbox();
    const { url: namespace } = sandbox.namespace();
    const timing = { count: 10, intervalMs: 1, timeoutMs: 2000 };
    for (const destination of ['127.0.0.1', '::1']) {
      const { sent, received, rttsMs } = await ping({ namespace, destination, ...timing });
      expect({ sent, received, count: rttsMs.length }).toEqual({
        sent: 10,
        received: 10,
        count: 10,
      });
    }
    const source = '127.0.0.5';
    const result = await ping({
      namespace,
      source,
      destination: '127.0.0.1',
      size: 1400,
      ...timing,
    });
    expect(result.received).toBe(10);
    await sandbox.close();
  });

  test('nobody there: nothing received, no error, or no way: NOT_FOUND', async () => {
    const sandbox = createSandbox();
    const [first, second] = [sandbox.namespace(), sandbox.namespace()];
    const timing = { count: 2, intervalMs: 1, timeoutMs: 100 };
    await expect(
      ping({ namespace: first.url, destination: '10.255.0.1', ...timing }),
    ).rejects.toMatchObject({ code: 'NOT_FOUND' });
    await sandbox.underlay([
      { namespace: first, addresses: ['10.255.0.1/24'] },
      { namespace: second, addresses: ['10.255.0.2/24'] },
    ]);
    const result = await ping({ namespace: first.url, destination: '10.255.0.9', ...timing });
    expect(result).toEqual({ sent: 2, received: 0, rttsMs: [] });
    await sandbox.close();
  });

  test.each([
    [{ destination: 'nonsense' }, 'INVALID_ARGUMENT'],
    [{ destination: '127.0.0.1', count: 0 }, 'INVALID_ARGUMENT'],
    [{ destination: '127.0.0.1', namespace: 'file:///nowhere' }, 'NOT_FOUND'],
  ])('%j is refused with %s', async (options, code) => {
    const defaults = { count: 1, intervalMs: 1, timeoutMs: 10 };
    await expect(ping({ ...defaults, ...options })).rejects.toMatchObject({ code });
  });
});
