// Protects keys that are handed over in files: their owner alone can read them, they are gone whatever became of the reading,
// and what a process that was killed left behind goes as well.

import { chmod, mkdir, mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { createKeyFiles } from '../../../transports/tunnel-keys/key-files.ts';

describe('key files', () => {
  let parent: string;
  let folder: string;

  beforeEach(async () => {
    parent = await mkdtemp(join(tmpdir(), 'vwire-key-files-'));
    folder = join(parent, 'keys');
  });

  afterEach(() => rm(parent, { recursive: true, force: true }));

  const modeOf = async (path: string) => ((await stat(path)).mode & 0o777).toString(8);

  it('are there while they are used, for nobody else, and gone afterwards with their folder', async () => {
    const seen = await createKeyFiles(folder).during('secret', async (path) => [
      await readFile(path, 'utf8'),
      await modeOf(path),
      await modeOf(folder),
    ]);
    expect(seen).toEqual(['secret', '600', '700']);
    expect(await readdir(parent)).toEqual([]);
  });

  it('are gone where the use of one fails, which is what is told', async () => {
    const failing = createKeyFiles(folder).during('secret', () =>
      Promise.reject(new Error('VPP is away')),
    );
    await expect(failing).rejects.toThrow('VPP is away');
    expect(await readdir(parent)).toEqual([]);
  });

  it('of several that are in use at once each has its own, until it is done', async () => {
    const files = createKeyFiles(folder);
    const texts = Array.from({ length: 20 }, (_, number) => `secret ${number}`);
    const read = await Promise.all(
      texts.map((text) => files.during(text, (path) => readFile(path, 'utf8'))),
    );
    expect(read).toEqual(texts);
    expect(await readdir(parent)).toEqual([]);
  });

  it('begin with an empty folder: what was left in it by a process that was killed is gone', async () => {
    await mkdir(folder, { mode: 0o755 });
    await writeFile(join(folder, 'left.pem'), 'old secret');
    await chmod(folder, 0o755);
    const seen = await createKeyFiles(folder).during('secret', async () => [
      (await readdir(folder)).length,
      await modeOf(folder),
    ]);
    expect(seen).toEqual([1, '700']);
  });

  it('that cannot be written are refused, with where and what to do, and never with the key', async () => {
    await writeFile(join(parent, 'file'), '');
    const nowhere = createKeyFiles(join(parent, 'file', 'keys'));
    const refused = await nowhere.during('secret', async () => {}).catch((error: unknown) => error);
    expect(refused).toMatchObject({
      code: 'FAILED_PRECONDITION',
      details: {
        rule: 'folder of key files',
        expected: expect.stringContaining(parent),
        remedy: expect.any(String),
      },
    });
    expect(JSON.stringify(refused)).not.toContain('secret');
  });
});
