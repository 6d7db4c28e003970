// The house rules that a program can check, each as a function over one file or over the tree. test/tidy.test.ts
// runs them over the repository and, to prove that each bites, over a tree with one planted violation per rule.

import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { findCycle } from './cycles.ts';
import { isPure, refuseImport } from './import-table.ts';
import { readSource, type Source } from './source.ts';

export interface Finding {
  readonly rule: string;
  /** Path relative to the tree, with the line where there is one. */
  readonly where: string;
  readonly what: string;
}

export type SourceFiles = ReadonlyMap<string, Source>;

const skippedFolders = new Set(['node_modules', 'dist', '.git', 'gen', 'coverage']);
const linesMax = 400;
const headerLinesMax = 12;

/** Files of the tree, relative, sorted; generated code and what is not committed left out. */
export function listFiles(root: string, folder = root): string[] {
  return readdirSync(folder, { withFileTypes: true })
    .flatMap((entry) => {
      const path = join(folder, entry.name);
      if (entry.isDirectory()) return skippedFolders.has(entry.name) ? [] : listFiles(root, path);
      return entry.isFile() ? [relative(root, path)] : [];
    })
    .sort();
}

export function readSources(root: string): SourceFiles {
  const paths = listFiles(root).filter((path) => /\.(ts|mjs)$/.test(path));
  return new Map(paths.map((path) => [path, readSource(readFileSync(join(root, path), 'utf8'))]));
}

const lineOf = (text: string, index: number): number => text.slice(0, index).split('\n').length;

export function checkImports(files: SourceFiles): Finding[] {
  return [...files].flatMap(([path, source]) =>
    source.imports.flatMap((line) => {
      const reason = refuseImport(path, line);
      return reason === undefined
        ? []
        : [
            {
              rule: 'imports',
              where: `${path}:${line.line}`,
              what: `${line.specifier}: ${reason}`,
            },
          ];
    }),
  );
}

export function checkCycles(files: SourceFiles): Finding[] {
  const cycle = findCycle(files);
  return cycle === undefined
    ? []
    : [{ rule: 'cycles', where: cycle[0] ?? '', what: cycle.join(' -> ') }];
}

const bannedEverywhere =
  /\bnew Date\b|\bDate\b(?=\s*[.(])|\bMath\.random\b|\bsetTimeout\b|\bsetInterval\b|\bclearTimeout\b|\bclearInterval\b|\bperformance\.|\bprocess\.|\bconsole\.|\bBuffer\b|\bcrypto\.|\bglobalThis\b|\bfetch\(|\bAbortSignal\.timeout\b|\brequire\(/g;

/** Clock, randomness, environment, console and sockets come into the pure folders through ports. */
export function checkGlobals(files: SourceFiles): Finding[] {
  return [...files]
    .filter(([path]) => isPure(path))
    .flatMap(([path, source]) =>
      [...source.code.matchAll(bannedEverywhere)].map((match) => ({
        rule: 'globals',
        where: `${path}:${lineOf(source.code, match.index)}`,
        what: `${match[0]} in a pure folder`,
      })),
    );
}

export function checkShape(files: SourceFiles): Finding[] {
  return [...files].flatMap(([path, source]) => {
    const lines = source.code.split('\n').filter((line) => line.trim() !== '').length;
    const name = path.split('/').at(-1) ?? '';
    return [
      ...(lines > linesMax
        ? [{ rule: 'size', where: path, what: `${lines} lines of code, at most ${linesMax}` }]
        : []),
      ...(source.headerLines < 1 || source.headerLines > headerLinesMax
        ? [{ rule: 'header', where: path, what: 'begins with a comment of 2 to 6 lines' }]
        : []),
      ...(/^index\.(ts|mjs)$/.test(name)
        ? [{ rule: 'barrel', where: path, what: 'no index files: name the thing' }]
        : []),
      ...(/^[a-z0-9]+(-[a-z0-9]+)*(\.test|\.config)?\.(ts|mjs)$/.test(name) || name === 'index.ts'
        ? []
        : [{ rule: 'name', where: path, what: 'file names are kebab-case' }]),
    ];
  });
}

// Spelled with character classes so that this file does not find itself.
const foreignWords: readonly (readonly [string, RegExp])[] = [
  [
    'unfinished work',
    /\b(?:T[O]DO|F[I]XME|X[X]X|H[A]CK)\b|\bnot imple[m]ented\b|\bfor n[o]w\b|\bpla[c]eholder\b/,
  ],
  ['a path of one machine', /(?<![\w.$}~-])\/(?:[w]ork|[h]ome|[r]oot|[U]sers)\/[\w.]/],
  // A skip is fine where its title tells a reason that was found at run time.
  ['a skipped or focused test', /\b(?:it|test|describe)\.(?:[o]nly|[t]odo|[s]kip)\((?!`[^`]*\$\{)/],
];

/** Words that do not belong in a finished file. */
export function checkWords(root: string): Finding[] {
  return listFiles(root)
    .filter((path) => /\.(ts|mjs|md|json|ya?ml|sh|proto)$|^\.ci\//.test(path))
    .filter((path) => path !== 'package-lock.json')
    .flatMap((path) =>
      readFileSync(join(root, path), 'utf8')
        .split('\n')
        .flatMap((text, index) =>
          foreignWords
            .filter(([, pattern]) => pattern.test(text))
            .map(([what]) => ({
              rule: 'words',
              where: `${path}:${index + 1}`,
              what: `${what}: ${text.trim().slice(0, 80)}`,
            })),
        ),
    );
}

const markdownLink = /\]\((?!https?:|mailto:|#)([^)#\s]+)(?:#[^)]*)?\)/g;

export function checkDocLinks(root: string): Finding[] {
  return listFiles(root)
    .filter((path) => path.endsWith('.md'))
    .flatMap((path) =>
      [...readFileSync(join(root, path), 'utf8').matchAll(markdownLink)]
        .map((match) => match[1] ?? '')
        .filter((target) => !existsSync(join(root, dirname(path), target)))
        .map((target) => ({ rule: 'links', where: path, what: `${target} does not exist` })),
    );
}

/** Every npm script that a page tells the reader to run exists. */
export function checkScripts(root: string): Finding[] {
  const manifest: unknown = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));
  const scripts = Object.keys((manifest as { scripts?: object }).scripts ?? {});
  return listFiles(root)
    .filter((path) => path.endsWith('.md'))
    .flatMap((path) =>
      [...readFileSync(join(root, path), 'utf8').matchAll(/\bnpm (?:run ([\w:-]+)|(test))\b/g)]
        .map((match) => match[1] ?? match[2] ?? '')
        .filter((script) => !scripts.includes(script))
        .map((script) => ({ rule: 'scripts', where: path, what: `package.json has no ${script}` })),
    );
}

export function checkTree(root: string): Finding[] {
  const files = readSources(root);
  return [
    ...checkImports(files),
    ...checkCycles(files),
    ...checkGlobals(files),
    ...checkShape(files),
    ...checkWords(root),
    ...checkDocLinks(root),
    ...checkScripts(root),
  ];
}
