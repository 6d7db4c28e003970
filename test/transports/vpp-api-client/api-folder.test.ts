// Protects reading definitions from files: all below the folder as one set, and a folder of no use named.

import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, expect, test } from 'vitest';
import { loadApiFolder } from '../../../transports/vpp-api-client/api-folder.ts';
import { fixtureFolder } from '../../protocols/vpp/known-apis.ts';

const folders: string[] = [];
afterEach(() => {
  for (const folder of folders.splice(0)) rmSync(folder, { recursive: true, force: true });
});

function folderWith(files: Readonly<Record<string, string>>): string {
  const folder = mkdtempSync(join(tmpdir(), 'vwapi-'));
  folders.push(folder);
  for (const [name, text] of Object.entries(files)) writeFileSync(join(folder, name), text);
  return folder;
}

test('every file below the folder is read, as one set', () => {
  const catalog = loadApiFolder(join(fixtureFolder, '..'));
  expect(catalog.codec('scalars').key).toBe('scalars_00000001');
  expect(catalog.codec('older_link_add').key).toBe('older_link_add_6d5d30d6');
});

test('no folder, a folder without definitions, and a file that is none', () => {
  expect(() => loadApiFolder('/nowhere')).toThrow(
    expect.objectContaining({
      code: 'NOT_FOUND',
      details: expect.objectContaining({ expected: 'a folder /nowhere' }),
    }),
  );
  expect(() => loadApiFolder(folderWith({ 'readme.txt': '' }))).toThrow(
    expect.objectContaining({
      code: 'NOT_FOUND',
      details: expect.objectContaining({ found: '0' }),
    }),
  );
  const broken = folderWith({ 'x.api.json': '{"messages":[["m"]]}' });
  expect(() => loadApiFolder(broken)).toThrow(
    expect.objectContaining({
      code: 'INVALID_ARGUMENT',
      message: `the API definitions of ${join(broken, 'x.api.json')} break their format`,
    }),
  );
});
