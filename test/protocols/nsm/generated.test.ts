// Protects the committed generated code from drifting away from the .proto files: generates it anew into a temporary
// directory and compares file by file.

import { execFile } from 'node:child_process';
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { promisify } from 'node:util';
import { expect, it } from 'vitest';

const root = resolve(import.meta.dirname, '../../..');

it('finds the committed code to be what the .proto files generate', {
  timeout: 60_000,
}, async () => {
  const directory = await mkdtemp(join(tmpdir(), 'vwire-generated-'));
  try {
    const template = await readFile(join(root, 'buf.gen.yaml'), 'utf8');
    const elsewhere = template.replace('protocols/nsm/gen', join(directory, 'gen'));
    expect(elsewhere).not.toBe(template);
    await writeFile(join(directory, 'buf.gen.yaml'), elsewhere);
    const buf = join(root, 'node_modules/@bufbuild/buf/bin/buf');
    const args = [buf, 'generate', '--template', join(directory, 'buf.gen.yaml')];
    await promisify(execFile)(process.execPath, args, { cwd: root, timeout: 50_000 });
    const names = (await readdir(join(directory, 'gen'))).sort();
    expect((await readdir(join(root, 'protocols/nsm/gen'))).sort()).toEqual(names);
    for (const name of names) {
      const fresh = await readFile(join(directory, 'gen', name), 'utf8');
      const committed = await readFile(join(root, 'protocols/nsm/gen', name), 'utf8');
      expect(committed === fresh, `${name} is stale: run npm run gen`).toBe(true);
    }
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
});
