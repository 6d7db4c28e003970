// Protects docs/guides/first-wire.md: its blocks run as they stand, one after another, in a network and mount namespace
// of their own, and what the guide promises to be left is all that is left.

import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, it } from 'vitest';
import { whyNoNamespaces } from '../sandbox/namespaces.ts';
import { vwire } from '../sandbox/up.ts';

const repository = join(import.meta.dirname, '../..');
const whyNot = process.getuid?.() === 0 ? whyNoNamespaces() : 'it needs root, as it says';
if (whyNot !== undefined) console.log(`skipped: the guide of the first wire: ${whyNot}`);

const place = mkdtempSync(join(tmpdir(), 'vwire-first-wire-'));
afterAll(() => {
  rmSync(place, { recursive: true, force: true });
  // Only the place where the mount was; whatever else is in it is not ours.
  spawnSync('rmdir', ['--ignore-fail-on-non-empty', '/tmp/first-wire']);
});

function block(name: string): string {
  const page = readFileSync(join(repository, 'docs/guides/first-wire.md'), 'utf8');
  const found = new RegExp(`^\`\`\`sh ${name}\\n([^]*?)^\`\`\`$`, 'm').exec(page)?.[1];
  if (found === undefined) throw new Error(`the guide has no block "sh ${name}"`);
  return found;
}

/** Waits for what a reader would see; the deadline is that of the whole script. */
const until = (command: string): string => `until ${command}; do sleep 0.1; done\n`;

function script(): string {
  const secondTerminal = [
    'set -eu\n',
    block('prepare'),
    block('workloads'),
    until(
      'vwire get connections --state-dir /tmp/first-wire -o json 2>&1 | grep -q \'"state": "UP"\'',
    ),
    block('look'),
    block('end'),
  ].join('');
  writeFileSync(join(place, 'second.sh'), secondTerminal);
  writeFileSync(join(place, 'first.sh'), `exec ${block('up')}`);
  return `
    set -eu
    ip link set lo up
    mkdir -p /run/netns /tmp/first-wire /var/lib/vwire
    mount -t tmpfs none /run/netns
    mount -t tmpfs none /tmp/first-wire
    # Where roles keep their state unless told: what others left there is not the guide's.
    mount -t tmpfs none /var/lib/vwire
    bash ${place}/first.sh >${place}/up.log 2>&1 &
    up=$!
    ${until(`grep -q "^Ctrl-C stops" ${place}/up.log`)}
    bash ${place}/second.sh
    kill -INT $up
    wait $up
    echo "links: $(ip -br link | cut -d' ' -f1 | xargs)"
    echo "left: $(find /tmp/first-wire -type s | xargs)"`;
}

it.skipIf(whyNot !== undefined)(
  'the guide of the first wire works as it stands',
  () => {
    const quoted = vwire.map((word) => `'${word}'`).join(' ');
    writeFileSync(join(place, 'vwire'), `#!/bin/sh\nexec ${quoted} "$@"\n`, { mode: 0o755 });
    const { status, stdout, stderr } = spawnSync(
      'unshare',
      ['--mount', '--net', 'bash', '-c', script()],
      {
        encoding: 'utf8',
        cwd: repository,
        env: {
          PATH: `${place}:${process.env['PATH']}`,
          ...(process.env['VWIRE_NATS_SERVER'] === undefined
            ? {}
            : { VWIRE_NATS_SERVER: process.env['VWIRE_NATS_SERVER'] }),
        },
        timeout: 200_000,
      },
    );
    const told = `${stdout}\n${stderr}\n${readFileSync(join(place, 'up.log'), 'utf8')}`;
    expect({ status, told: status === 0 ? '' : told }).toEqual({ status: 0, told: '' });
    expect(stdout).toContain('3 received, 0% packet loss');
    expect(stdout).toContain('inet 172.31.9.1/32');
    expect(stdout).toContain('connection client-0');
    expect(stdout).toContain('nothing is wrong');
    expect(stdout).toMatch(/^links: lo$/m);
  },
  240_000,
);
