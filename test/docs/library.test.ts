// Protects docs/library.md: its code blocks run exactly as they stand there, against a real mesh, and carry packets.

import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createSandbox, whyNoNamespaces } from '../sandbox/namespaces.ts';
import { startProcess, startUp, type UpMesh } from '../sandbox/up.ts';

const repository = join(import.meta.dirname, '../..');
const whyNot = whyNoNamespaces();
if (whyNot !== undefined) console.log(`skipped: the guide needs namespaces: ${whyNot}`);

function block(name: string): string {
  const page = readFileSync(join(repository, 'docs/library.md'), 'utf8');
  const found = new RegExp(`^\`\`\`ts ${name}\\n([^]*?)^\`\`\`$`, 'm').exec(page)?.[1];
  if (found === undefined) throw new Error(`docs/library.md has no block "ts ${name}"`);
  return found;
}

it('an Endpoint takes at most 30 lines and a client at most 15', () => {
  expect(block('endpoint').trimEnd().split('\n').length).toBeLessThanOrEqual(30);
  expect(block('client').trimEnd().split('\n').length).toBeLessThanOrEqual(15);
});

describe.skipIf(whyNot !== undefined)('the guide', () => {
  const sandbox = createSandbox();
  let mesh: UpMesh;
  let place = '';

  beforeAll(async () => {
    place = mkdtempSync(join(tmpdir(), 'vwire-guide-'));
    const own = join(place, 'node_modules/vwire');
    mkdirSync(own, { recursive: true });
    writeFileSync(join(place, 'package.json'), '{"type":"module"}');
    writeFileSync(join(own, 'package.json'), '{"type":"module","exports":"./index.ts"}');
    const library = pathToFileURL(join(repository, 'bin/library.ts')).href;
    writeFileSync(join(own, 'index.ts'), `export * from '${library}';\n`);
    for (const name of ['endpoint', 'client']) {
      writeFileSync(join(place, `${name}.ts`), block(name));
    }
    mesh = await startUp(sandbox, ['--bus', 'memory']);
  });

  afterAll(async () => {
    await mesh?.up.end('SIGINT');
    await sandbox.close();
    mesh?.forget();
    rmSync(place, { recursive: true, force: true });
  });

  it('runs: the client reaches the Endpoint over IPv4 and IPv6, and both leave nothing', async () => {
    const run = (name: string) => {
      const namespace = sandbox.namespace();
      const command = [process.execPath, '--import', 'tsx', join(place, `${name}.ts`)] as const;
      const identity = name === 'client' ? 'nsc' : 'nse';
      const env = {
        NSM_CONNECT_TO: mesh.socketUrl,
        SPIFFE_ENDPOINT_SOCKET: `unix://${mesh.stateDir}/identity/${identity}.sock`,
      };
      return { namespace, process: startProcess(sandbox, namespace, [...command], env) };
    };
    const endpoint = run('endpoint');
    await endpoint.process.line(/^serving at unix:/);
    const client = run('client');
    const line = await client.process.line(/ on nsm-1$/);
    expect(line).toBe('172.30.7.1/32, fd00:7::1/128 reaches 172.30.7.0/32, fd00:7::/128 on nsm-1');
    for (const address of ['172.30.7.0', 'fd00:7::']) {
      const ping = ['ping', '-n', '-c', '2', '-i', '0.2', '-W', '2', address] as const;
      expect((await sandbox.run(client.namespace, [...ping])).stdout).toContain(' 0% packet loss');
    }
    await endpoint.process.line(/^wire \S+ for visitor: 172\.30\.7\.1\/32, fd00:7::1\/128$/);
    expect(await client.process.end('SIGTERM')).toBe(0);
    await endpoint.process.line(/^wire \S+ closed$/);
    expect(await endpoint.process.end('SIGTERM')).toBe(0);
    expect([client.process.errors, endpoint.process.errors]).toEqual(['', '']);
    for (const { namespace } of [client, endpoint]) {
      const links = await sandbox.run(namespace, ['ip', '-br', 'link']);
      expect(links.stdout.trim().split('\n')).toHaveLength(1);
    }
  }, 240_000);
});
