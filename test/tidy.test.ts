// Protects the rules of the house: the repository keeps them, and every rule is shown to bite by planting its
// violation in a tree of its own, for the checks of test/tidy/ as well as for the linter.

import { execFileSync } from 'node:child_process';
import { cpSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type Plant, plants } from './tidy/planted.ts';
import { checkTree, type Finding } from './tidy/rules.ts';
import { readSource } from './tidy/source.ts';

const repository = join(import.meta.dirname, '..');

const describeFindings = (findings: readonly Finding[]): string[] =>
  findings.map(({ rule, where, what }) => `${rule} ${where}: ${what}`);

describe('the repository', () => {
  it('keeps the rules of the house', () => {
    expect(describeFindings(checkTree(repository))).toEqual([]);
  });
});

interface LintFinding {
  readonly filename: string;
  readonly code?: string;
}

function lint(root: string): readonly LintFinding[] {
  const oxlint = join(repository, 'node_modules/.bin/oxlint');
  try {
    execFileSync(oxlint, ['--type-aware', '-f', 'json', '.'], { cwd: root, encoding: 'utf8' });
    return [];
  } catch (failure) {
    const { stdout } = failure as { stdout: string };
    return (JSON.parse(stdout) as { diagnostics: readonly LintFinding[] }).diagnostics;
  }
}

describe('a tree with planted violations', () => {
  let tree = '';
  let tidyFindings: readonly Finding[] = [];
  let lintFindings: readonly LintFinding[] = [];

  const plant = ({ path, text }: Pick<Plant, 'path' | 'text'>) => {
    mkdirSync(dirname(join(tree, path)), { recursive: true });
    writeFileSync(join(tree, path), text);
  };

  beforeAll(() => {
    tree = mkdtempSync(join(tmpdir(), 'vwire-tidy-'));
    for (const file of ['.oxlintrc.json', 'tsconfig.json', 'package.json']) {
      cpSync(join(repository, file), join(tree, file));
    }
    symlinkSync(join(repository, 'node_modules'), join(tree, 'node_modules'));
    for (const planted of plants) plant(planted);
    plant({ path: 'protocols/clean.ts', text: cleanText });
    plant({ path: 'actors/connection/clean.ts', text: cleanActorText });
    tidyFindings = checkTree(tree);
    lintFindings = lint(tree);
  });

  afterAll(() => rmSync(tree, { recursive: true, force: true }));

  it.each(plants.filter((planted) => planted.tidy !== undefined))(
    'the tidy check finds $what',
    ({ path, tidy }) => {
      const rules = tidyFindings
        .filter(({ where }) => where === path || where.startsWith(`${path}:`))
        .map(({ rule }) => rule);
      expect(rules).toContain(tidy);
    },
  );

  it.each(plants.filter((planted) => planted.lint !== undefined))(
    'the linter finds $what',
    ({ path, lint: expected }) => {
      const rules = lintFindings
        .filter(({ filename }) => filename.replace(/^\.\//, '') === path)
        .map(({ code }) => /\(([^)]+)\)/.exec(code ?? '')?.[1]);
      expect(rules).toContain(expected);
    },
  );

  it('finds nothing in clean files', () => {
    const isClean = (path: string) => /(^|\/)clean\.ts(:|$)/.test(path);
    expect(tidyFindings.filter(({ where }) => isClean(where))).toEqual([]);
    expect(lintFindings.filter(({ filename }) => isClean(filename))).toEqual([]);
  });
});

const cleanText = `// Mentions Date.now, setTimeout and console in words only, which no rule minds.
import { create } from '@bufbuild/protobuf';
import type { GenMessage } from '@bufbuild/protobuf/codegenv2';

/** Not a call: process.env, import 'nact'. */
export const words = ['Date.now()', \`console.log\`, /["'\`]process\\.env/];
export type Message = GenMessage<never>;
export const make = create;
`;

const cleanActorText = `// Imports what an actor may import.
import type { ActorRef } from '../runtime/api.ts';
import { asNsmError } from '../../protocols/errors.ts';
import { start } from '../client/messages.ts';
import type { Client } from '../client/client.ts';
import { next } from './steps/planted-deep.ts';

export type Mine = ActorRef<Client>;
export const all = [asNsmError, start, next];
`;

describe('the reader of sources', () => {
  it('sees imports in every form and none in comments or text', () => {
    const source = readSource(`// Header.
import a, { b } from './a.ts';
import type { C } from './c.ts';
import './d.ts';
import {
  e,
} from './e.ts';
export * from './f.ts';
export type { G } from './g.ts';
const h = await import('./h.ts');
// import x from './no.ts';
const text = "import y from './no.ts'";
`);
    const seen = source.imports.map(({ specifier, typeOnly }) => [specifier, typeOnly] as const);
    expect(seen.sort(([a], [b]) => a.localeCompare(b))).toEqual([
      ['./a.ts', false],
      ['./c.ts', true],
      ['./d.ts', false],
      ['./e.ts', false],
      ['./f.ts', false],
      ['./g.ts', true],
      ['./h.ts', false],
    ]);
  });
});
