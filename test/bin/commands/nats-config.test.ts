// Protects the configuration that `vwire nats-config` prints for a nats-server of one's own: the server takes it, and a
// description that is wrong prints none.

import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import type { IdentitySnapshot } from '../../../protocols/ports/identity.ts';
import { tlsMaterial } from '../../../protocols/spiffe/tls-material.ts';
import { TestIdentities } from '../../sandbox/identities.ts';
import { vwire } from '../../sandbox/up.ts';

let folder: string;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'vwire-nats-config-'));
});

afterEach(() => rmSync(folder, { recursive: true, force: true }));

function print(document: string) {
  const [node, ...args] = vwire;
  const file = join(folder, 'bus.yaml');
  writeFileSync(file, document);
  const how = ['--tls-dir', folder, '--store-dir', join(folder, 'store')];
  return spawnSync(node, [...args, 'nats-config', file, ...how], { encoding: 'utf8' });
}

it('is one that nats-server takes', async () => {
  const identities = new TestIdentities();
  const snapshot = (await identities.source('bus')).current() as IdentitySnapshot;
  await identities.close();
  const { cert, key, ca } = tlsMaterial(snapshot);
  const files = { cert, key, ca: ca.join('') };
  for (const [name, text] of Object.entries(files))
    writeFileSync(join(folder, `${name}.pem`), text);
  const { stdout, status } = print('users: [{ id: spiffe://home.test/m, roles: [nsmgr] }]');
  expect(status).toBe(0);
  expect(stdout).toContain('verify_and_map: true');
  const config = join(folder, 'nats-server.conf');
  writeFileSync(config, stdout);
  const binary = process.env['VWIRE_NATS_SERVER'] ?? 'nats-server';
  execFileSync(binary, ['-t', '-c', config], { stdio: 'pipe' });
});

it('is not printed where the description is wrong', () => {
  const { stdout, stderr, status } = print('users: [{ id: spiffe://home.test/m, roles: [all] }]');
  expect(status).not.toBe(0);
  expect(stdout).toBe('');
  expect(stderr).toMatch(/line 1.*roles/);
});
