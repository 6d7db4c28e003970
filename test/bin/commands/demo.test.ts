// Protects what the demo does where it cannot or shall not simply run through: without any right to make namespaces it
// names the right and simulates, says so in every line, and still notices sabotage; with --keep every command that it
// prints works as it stands, also for an ordinary user; over Open vSwitch it shows the same as over the kernel.

import { spawnSync } from 'node:child_process';
import {
  chmodSync,
  cpSync,
  existsSync,
  mkdtempSync,
  readdirSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, dirname, join } from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import { remedyFor } from '../../../bin/demo/ground.ts';
import { tcpBytesPerWay } from '../../../bin/demo/probe-wire.ts';
import { createSandbox, whyNoNamespaces } from '../../sandbox/namespaces.ts';
import { whyNoOvs } from '../../sandbox/ovs.ts';
import { whyNoVppNode } from '../../sandbox/vpp.ts';
import { startProcess, vwire } from '../../sandbox/up.ts';

const repository = join(import.meta.dirname, '../../..');
const whyNot = whyNoNamespaces();
const isRoot = process.getuid?.() === 0;
if (whyNot !== undefined) console.log(`skipped: a kept demo needs namespaces: ${whyNot}`);

const places: string[] = [];
function place(): string {
  const made = mkdtempSync(join(tmpdir(), 'vwire-demo-test-'));
  chmodSync(made, 0o755);
  places.push(made);
  return made;
}

afterEach(() => {
  for (const each of places.splice(0)) rmSync(each, { recursive: true, force: true });
});

/** A PATH whose unshare refuses, as in a locked-down container. */
function pathWithoutUnshare(): string {
  const directory = place();
  const refusing = '#!/bin/sh\necho "unshare failed: Operation not permitted" >&2\nexit 1\n';
  writeFileSync(join(directory, 'unshare'), refusing, { mode: 0o755 });
  return `${directory}:${process.env['PATH']}`;
}

/** Root keeps its user id, but not the capabilities; an ordinary user has none to lose. */
const withoutRights: readonly string[] = isRoot
  ? ['setpriv', '--bounding-set=-sys_admin,-net_admin']
  : [];

function lockedDownDemo(...args: readonly string[]) {
  const temporary = place();
  const [command = '', ...rest] = [...withoutRights, ...vwire, 'demo', '--json', ...args];
  const { status, stdout, stderr } = spawnSync(command, rest, {
    encoding: 'utf8',
    cwd: repository,
    env: { PATH: pathWithoutUnshare(), TMPDIR: temporary },
    timeout: 120_000,
  });
  const lines = stdout.trimEnd().split('\n');
  const left = readdirSync(temporary).filter((name) => name.startsWith('vwire-'));
  return { status, lines, result: JSON.parse(lines.at(-1) ?? ''), stderr, left };
}

describe('the demo without any right to make namespaces', () => {
  it('names the missing right and how to grant it, simulates, and says so in every line', () => {
    const { status, lines, result, stderr, left } = lockedDownDemo();
    expect(status).toBe(0);
    expect(stderr).toContain('CAP_SYS_ADMIN');
    expect(stderr).toContain('unshare failed: Operation not permitted');
    expect(stderr).toMatch(/--cap-add SYS_ADMIN|sysctl -w/);
    const told = [...lines.slice(0, -1), ...stderr.trimEnd().split('\n')];
    for (const line of told) expect(line).toMatch(/^(simulated |vwire: )/);
    expect(result).toEqual({
      dataplane: 'simulated',
      wires: [
        {
          service: 'local-service',
          path: ['client-1', 'nsmgr-node-1', 'forwarder-node-1', 'server-1'],
          sent: 10,
          received: 10,
          requestMs: expect.any(Number),
        },
        {
          service: 'remote-service',
          path: [
            'client-2',
            'nsmgr-node-1',
            'forwarder-node-1',
            'nsmgr-node-2',
            'forwarder-node-2',
            'server-2',
          ],
          sent: 10,
          received: 10,
          requestMs: expect.any(Number),
        },
      ],
      leftovers: 0,
    });
    expect(left).toEqual([]);
  }, 240_000);

  it.each([
    ['wire', /wrong: local-service: interface nsm-1 of client-1 is down/],
    ['endpoint', /wrong: server-1 is not running any more/],
    ['forwarder', /wrong: forwarder-node-1 is not running any more/],
  ])(
    'still notices a broken %s',
    (part, found) => {
      const { status, lines } = lockedDownDemo('--sabotage', part);
      expect(status).toBe(1);
      expect(lines.join('\n')).toMatch(found);
    },
    240_000,
  );

  it.each([
    ['kernel/unprivileged_userns_clone', '0'],
    ['user/max_user_namespaces', '0'],
    ['kernel/apparmor_restrict_unprivileged_userns', '1'],
  ])('names the setting %s where that forbids it', (setting, value) => {
    const remedy = remedyFor((path) => (path === setting ? value : undefined));
    expect(remedy).toContain(`sysctl -w ${setting.replace('/', '.')}=`);
  });
});

/** Where any user can run it: what was unpacked into the cache of the user who runs the tests is copied. */
function natsServerIn(folder: string): string | undefined {
  const named = process.env['VWIRE_NATS_SERVER'];
  if (named?.includes('vwire/debian/') !== true) return named;
  const copy = join(folder, 'nats-server');
  cpSync(dirname(named), copy, { recursive: true });
  return join(copy, basename(named));
}

const asUser = ['setpriv', '--reuid=65534', '--regid=65534', '--clear-groups'];

const carriers = [
  { forwarder: 'ovs', name: 'Open vSwitch', whyNot: whyNoOvs() },
  { forwarder: 'vpp', name: 'VPP', whyNot: whyNoVppNode() },
];
for (const { name, whyNot: reason } of carriers) {
  if (reason !== undefined) console.log(`skipped: the demo over ${name}: ${reason}`);
}
const carriersHere = carriers.filter((each) => each.whyNot === undefined);

describe.each(carriersHere)('the demo over $name', ({ forwarder }) => {
  it('carries pings and streams both ways, local and remote, and leaves nothing', () => {
    const [command, ...rest] = [...vwire, 'demo', '--forwarder', forwarder, '--json'];
    const { status, stdout, stderr } = spawnSync(command, rest, {
      encoding: 'utf8',
      cwd: repository,
      env: { ...process.env, TMPDIR: place() },
      timeout: 180_000,
    });
    expect(status, stderr).toBe(0);
    const carried = { sent: 10, received: 10, tcpBytes: 2 * tcpBytesPerWay };
    expect(JSON.parse(stdout.trimEnd().split('\n').at(-1) ?? '')).toMatchObject({
      dataplane: forwarder,
      wires: [
        { service: 'local-service', ...carried },
        { service: 'remote-service', ...carried },
      ],
      leftovers: 0,
    });
  }, 240_000);
});

describe.skipIf(whyNot !== undefined)('a kept demo', () => {
  const ways: readonly { readonly how: string; readonly prefix: readonly string[] }[] = [
    { how: 'as it is', prefix: [] },
    { how: 'without any right', prefix: withoutRights },
    ...(isRoot ? [{ how: 'as an ordinary user', prefix: asUser }] : []),
  ];

  it.each(ways)(
    '$how: each command that it prints works, and Ctrl-C ends all',
    async (way) => {
      const { how, prefix } = way;
      const sandbox = createSandbox();
      const temporary = place();
      chmodSync(temporary, 0o777);
      const path = how === 'without any right' ? pathWithoutUnshare() : (process.env['PATH'] ?? '');
      const env = { PATH: path, TMPDIR: temporary, HOME: temporary };
      const natsServer = natsServerIn(temporary);
      const [file, ...args] = [...prefix, ...vwire, 'demo', '--json', '--keep'];
      try {
        const demo = startProcess(sandbox, sandbox.namespace(), [file, ...args], {
          ...env,
          ...(natsServer === undefined ? {} : { VWIRE_NATS_SERVER: natsServer }),
        });
        await expect
          .poll(() => demo.errors, { timeout: 180_000 })
          .toMatch(/# one wire, hop by hop\n/);
        const hints = [...demo.errors.matchAll(/^ {2}(.*?) {3}# (.*)$/gm)];
        expect(hints.length).toBeGreaterThanOrEqual(how === 'without any right' ? 5 : 7);
        const shell = (hint: string) => {
          const [file, ...args] = [...prefix, 'sh', '-c', hint];
          return spawnSync(file, args, { encoding: 'utf8', cwd: repository, env, timeout: 90_000 });
        };
        for (const [, hint = '', text] of hints) {
          const { status, stdout, stderr } = shell(hint);
          expect({ hint, status, stderr }).toEqual({ hint, status: 0, stderr: '' });
          if (text === 'both wires') expect(stdout).toMatch(/^client-1-0 [^]*^client-2-0 /m);
          if (text?.startsWith('inside')) expect(stdout).toContain('nsm-1');
        }
        expect(await demo.end('SIGINT')).toBe(0);
        expect(JSON.parse(demo.lines.at(-1) ?? '')).toMatchObject({ leftovers: 0 });
        const left = readdirSync(temporary).filter((name) => name.startsWith('vwire-'));
        expect(left).toEqual([]);
        expect(existsSync(`/proc/${demo.pid}`)).toBe(false);
      } finally {
        await sandbox.close();
      }
    },
    240_000,
  );
});
