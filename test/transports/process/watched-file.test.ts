// Protects settings that change while a process runs: every way in which files are replaced is noticed, each content
// is told once, and what cannot be read is said without ending anything.

import { mkdirSync, mkdtempSync, renameSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import {
  type FileNews,
  type WatchedFile,
  watchFile,
} from '../../../transports/process/watched-file.ts';
import { eventually } from '../../sandbox/eventually.ts';

let directory = '';
let path = '';
let news: FileNews[] = [];
let watched: WatchedFile | undefined;

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'vwire-watched-'));
  path = join(directory, 'setting.yaml');
  news = [];
});

afterEach(() => {
  watched?.stop();
  rmSync(directory, { recursive: true, force: true });
});

function watch(): void {
  const options = { lengthMaxBytes: 1_000, intervalMs: 5 };
  watched = watchFile(path, options, (each) => void news.push(each));
}

const last = (wanted: FileNews) =>
  eventually('the news', 10_000, () => expect(news.at(-1)).toEqual(wanted));

it('tells what is there at once, and every change after it', async () => {
  writeFileSync(path, 'a');
  watch();
  expect(news).toEqual([{ text: 'a' }]);
  writeFileSync(path, 'b');
  await last({ text: 'b' });
  writeFileSync(`${path}.new`, 'c');
  renameSync(`${path}.new`, path);
  await last({ text: 'c' });
  rmSync(path);
  await last({ text: undefined });
  writeFileSync(path, 'd');
  await last({ text: 'd' });
});

it('sees a symbolic link switched in a directory above the file, as a ConfigMap does it', async () => {
  for (const life of ['1', '2']) {
    mkdirSync(join(directory, life));
    writeFileSync(join(directory, life, 'setting.yaml'), life);
  }
  symlinkSync('1', join(directory, 'data'));
  symlinkSync('data/setting.yaml', path);
  watch();
  expect(news).toEqual([{ text: '1' }]);
  symlinkSync('2', join(directory, 'next'));
  renameSync(join(directory, 'next'), join(directory, 'data'));
  await last({ text: '2' });
});

it('says of what is no file, or too long, that it cannot be read, and goes on', async () => {
  mkdirSync(path);
  watch();
  expect(news).toEqual([{ error: new Error('it is no regular file') }]);
  rmSync(path, { recursive: true });
  await last({ text: undefined });
  writeFileSync(path, 'x'.repeat(1_001));
  await last({ error: new Error('it has 1001 bytes, at most 1000 are read') });
  writeFileSync(path, 'x');
  await last({ text: 'x' });
});
