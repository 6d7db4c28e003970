// Protects the netlink transport: namespaces by URL, undoing, bounds, and a process that ends when it wants to.

import { execFile } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

import { describe, expect, test } from 'vitest';

import { createVeth, deleteLinkByName, getLinkByName } from '../../../protocols/netlink/link.ts';
import type { NetlinkRequest } from '../../../protocols/ports/netlink.ts';
import { createNetlink } from '../../../transports/netlink/netlink.ts';
import { createNetworkNamespace } from '../../../transports/netlink/network-namespace.ts';
import { createSandbox, heldNamespaces, whyNoNamespaces } from '../../sandbox/namespaces.ts';

const reason = whyNoNamespaces();
const budget = { timeoutMs: 5000 };
const lookFor = (name: string): NetlinkRequest => ({
  message: getLinkByName(name),
  what: `find ${name}`,
});
const create = (name: string): NetlinkRequest => ({
  message: createVeth({ name, group: 0, mtu: 0, peer: { name: `${name}p` } }),
  what: `create ${name}`,
  undo: [deleteLinkByName(name)],
});

describe.skipIf(reason !== undefined)(`netlink transport ${reason ?? ''}`, () => {
  test('finds a namespace by descriptor, by mount and by inode, and holds none afterwards', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'vwire-test-'));
    const held = heldNamespaces();
    const mounted = createNetworkNamespace(join(folder, 'net'));
    const opened = createNetworkNamespace();
    const netlink = createNetlink();
    const before = heldNamespaces();
    for (const namespace of [mounted.url, mounted.inodeUrl, opened.url, opened.inodeUrl]) {
      const steps = [{ namespace, protocol: 'route', requests: [lookFor('lo')] } as const];
      expect(await netlink.execute(steps, budget)).toMatchObject({ ok: true });
    }
    expect(heldNamespaces()).toEqual(before);
    await netlink.close();
    mounted.close();
    opened.close();
    expect(heldNamespaces()).toEqual(held);
    rmSync(folder, { recursive: true });
  });

  test.each([
    ['file:///nowhere/net', 'NOT_FOUND'],
    ['file:///etc/hostname', 'NOT_FOUND'],
    ['file:///dev/zero', 'NOT_FOUND'],
    ['file:///proc/self/ns/mnt', 'NOT_FOUND'],
    ['inode://4/1', 'NOT_FOUND'],
    ['inode://x/1', 'INVALID_ARGUMENT'],
    ['http://host/net', 'INVALID_ARGUMENT'],
    ['', 'INVALID_ARGUMENT'],
  ])('the namespace %j is refused with %s', async (namespace, code) => {
    const netlink = createNetlink();
    const steps = [{ namespace, protocol: 'route', requests: [lookFor('lo')] } as const];
    const outcome = await netlink.execute(steps, budget);
    expect(outcome).toMatchObject({ ok: false, failure: { code, request: -1 } });
    await netlink.close();
  });

  test('a failed program undoes what it did, and only that', async () => {
    const sandbox = createSandbox();
    const { url: namespace } = sandbox.namespace();
    const netlink = createNetlink({ namespace });
    const run = (requests: NetlinkRequest[]) =>
      netlink.execute([{ protocol: 'route', requests }], budget);
    expect(await run([create('kept')])).toMatchObject({ ok: true });
    const outcome = await run([
      create('first'),
      { ...create('kept'), tolerate: [17] },
      lookFor('absent'),
    ]);
    expect(outcome).toMatchObject({
      ok: false,
      failure: { code: 'NOT_FOUND', request: 2, what: 'find absent', undoFailures: [] },
    });
    expect(await run([lookFor('first')])).toMatchObject({ ok: false });
    expect(await run([lookFor('kept')])).toMatchObject({ ok: true });
    await netlink.close();
    await sandbox.close();
  });

  test('bounds its queue, and forgets what was cancelled or is closed', async () => {
    const netlink = createNetlink({ queueLengthMax: 4 });
    const steps = [{ protocol: 'route', requests: [lookFor('lo')] } as const];
    const results = await Promise.allSettled(
      Array.from({ length: 20 }, () => netlink.execute(steps, budget)),
    );
    const refused = results.filter(({ status }) => status === 'rejected');
    expect(refused.length).toBe(8);
    expect(refused[0]).toMatchObject({ reason: { code: 'RESOURCE_EXHAUSTED' } });
    const signal = AbortSignal.abort();
    await expect(netlink.execute(steps, { ...budget, signal })).rejects.toMatchObject({
      code: 'CANCELLED',
    });
    await netlink.close();
    await expect(netlink.execute(steps, budget)).rejects.toMatchObject({ code: 'UNAVAILABLE' });
  });

  test('a process that watches links ends by itself', async () => {
    const transport = new URL('../../../transports/netlink/netlink.ts', import.meta.url).href;
    const script = `
      const { createNetlink } = await import(${JSON.stringify(transport)});
      const netlink = createNetlink();
      await new Promise((resolve) => netlink.watchLinks('vw', resolve) && setTimeout(resolve, 5000));
      process.exit(7);`;
    const folder = fileURLToPath(new URL('../../..', import.meta.url));
    const child = promisify(execFile)(
      process.execPath,
      ['--import', 'tsx', '--input-type=module', '-e', script],
      { cwd: folder, timeout: 15_000 },
    );
    await expect(child).rejects.toMatchObject({ code: 7, killed: false });
  });
});
