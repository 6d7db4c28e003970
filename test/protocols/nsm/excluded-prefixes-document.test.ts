// Protects the addresses of a node's own network: the collector's file is read exactly, and a mistake in it is named
// with its line instead of losing an exclusion.

import { describe, expect, it } from 'vitest';
import { readYamlDocument } from '../../../bin/yaml-file.ts';
import { NsmError } from '../../../protocols/errors.ts';
import { excludedPrefixesFrom } from '../../../protocols/nsm/excluded-prefixes-document.ts';

function read(text: string): readonly string[] {
  const document = readYamlDocument(text, { kind: 'file', name: 'excluded.yaml' });
  return excludedPrefixesFrom(document?.value, document?.positionOf ?? (() => undefined));
}

function refused(text: string): NsmError {
  try {
    read(text);
  } catch (thrown) {
    if (thrown instanceof NsmError) return thrown;
    throw thrown;
  }
  throw new Error('nothing was refused');
}

describe('a file of excluded prefixes', () => {
  it('lists prefixes of both families, each once and in canonical form', () => {
    expect(read('prefixes:\n- 10.96.0.7/12\n- FD00:0::/8\n- 10.96.0.0/12\n- 192.0.2.1\n')).toEqual([
      '10.96.0.0/12',
      'fd00::/8',
      '192.0.2.1/32',
    ]);
  });

  it('may list none', () => {
    expect(read('prefixes: []\n')).toEqual([]);
    expect(read('prefixes:\n')).toEqual([]);
  });

  it.each([
    ['prefixes:\n- 10.0.0.0/8\n- 10.0.0.0/33\n', 'line 3, prefixes.1', '"10.0.0.0/33"'],
    ['prefixes:\n- 7\n', 'line 2, prefixes.0', 'number 7'],
    ['prefixes: 10.0.0.0/8\n', 'line 1, prefixes', '"10.0.0.0/8"'],
    ['prefixes: []\nprefix: []\n', 'line 2, prefix', 'the key prefix'],
    ['- 10.0.0.0/8\n', 'line 1, the document', 'a list of 1'],
  ])('refuses %j with line and place', (text, rule, found) => {
    expect(refused(text)).toMatchObject({ code: 'INVALID_ARGUMENT', details: { rule, found } });
  });

  it('is one document', () => {
    expect(refused('prefixes: []\n---\nprefixes: []\n').details.found).toBe('2');
  });
});
