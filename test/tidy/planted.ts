// One violation per rule of the house, as files to plant in an otherwise clean tree. Each plant names the rule of
// test/tidy/rules.ts and the lint rule that must find it; a plant without one of the two is found by the other only.

export interface Plant {
  readonly what: string;
  readonly path: string;
  readonly text: string;
  /** Rule name in test/tidy/rules.ts. */
  readonly tidy?: string;
  /** Rule name as oxlint prints it. */
  readonly lint?: string;
}

const header = '// A planted file.\n';

function plantedImport(path: string, specifier: string, kind = 'import'): Plant {
  const text =
    kind === 'dynamic'
      ? `${header}export const load = () => import('${specifier}');\n`
      : kind === 'export'
        ? `${header}export { value } from '${specifier}';\n`
        : kind === 'type'
          ? `${header}import type { Value } from '${specifier}';\nexport type Mine = Value;\n`
          : `${header}import { value } from '${specifier}';\nexport const mine = value;\n`;
  return {
    what: `${path} with ${kind} of ${specifier}`,
    path,
    text,
    tidy: 'imports',
    lint: 'no-restricted-imports',
  };
}

function plantedGlobal(path: string, expression: string, lint: string): Plant {
  return {
    what: `${expression} in ${path}`,
    path,
    text: `${header}export const mine = () => ${expression};\n`,
    tidy: 'globals',
    lint,
  };
}

const imports: readonly Plant[] = [
  plantedImport('protocols/planted-actor.ts', '../actors/runtime/api.ts'),
  plantedImport('protocols/nsm/planted-dataplane.ts', '../../dataplane/kernel/kernel.ts', 'type'),
  plantedImport('protocols/planted-node.ts', 'node:fs'),
  plantedImport('protocols/planted-bare-node.ts', 'fs'),
  plantedImport('protocols/planted-package.ts', 'zod'),
  plantedImport('protocols/planted-scoped.ts', '@grpc/grpc-js', 'type'),
  plantedImport('protocols/planted-near-scope.ts', '@bufbuild/buf'),
  plantedImport('protocols/planted-dynamic.ts', 'nact', 'dynamic'),
  plantedImport('actors/connection/planted-transport.ts', '../../transports/nats/nats.ts'),
  plantedImport('actors/connection/planted-dataplane.ts', '../../dataplane/kernel/kernel.ts'),
  plantedImport('actors/connection/planted-bin.ts', '../../bin/library.ts', 'export'),
  plantedImport('actors/connection/planted-nact.ts', 'nact'),
  plantedImport('actors/connection/planted-node.ts', 'node:net'),
  plantedImport('actors/connection/planted-other.ts', '../client/client.ts'),
  plantedImport('actors/connection/steps/planted-deep.ts', '../../client/client.ts'),
  plantedImport('actors/connection/steps/planted-up.ts', '../../../transports/nats/nats.ts'),
  plantedImport('actors/runtime/planted-other.ts', '../client/messages.ts'),
  plantedImport('actors/runtime/planted-package.ts', 'pino'),
  plantedImport('dataplane/kernel/planted-other.ts', '../ovs/ovs.ts'),
  plantedImport('dataplane/kernel/planted-actor.ts', '../../actors/runtime/api.ts', 'type'),
  plantedImport('dataplane/kernel/planted-transport.ts', '../../transports/netlink/link.ts'),
  plantedImport('dataplane/kernel/planted-koffi.ts', 'koffi'),
  plantedImport('transports/nats/planted-other.ts', '../grpc/grpc.ts'),
  plantedImport('transports/nats/deep/planted-other.ts', '../../grpc/grpc.ts'),
  plantedImport('transports/nats/planted-actor.ts', '../../actors/runtime/api.ts'),
  plantedImport('transports/nats/planted-nact.ts', 'nact'),
  plantedImport('bin/planted-nact.ts', 'nact'),
  plantedImport('bin/planted-test.ts', '../test/sandbox/sandbox.ts'),
];

const banned = 'no-restricted-globals';
const globals: readonly Plant[] = [
  plantedGlobal('protocols/planted-now.ts', 'Date.now()', banned),
  plantedGlobal('protocols/planted-date.ts', 'new Date()', banned),
  plantedGlobal('actors/connection/planted-random.ts', 'Math.random()', 'no-restricted-properties'),
  plantedGlobal('actors/connection/planted-timeout.ts', 'setTimeout(() => 1, 1)', banned),
  plantedGlobal('actors/runtime/planted-interval.ts', 'setInterval(() => 1, 1)', banned),
  plantedGlobal('dataplane/kernel/planted-env.ts', 'process.env', banned),
  plantedGlobal('dataplane/kernel/planted-console.ts', 'console.log(1)', banned),
  plantedGlobal('protocols/planted-buffer.ts', "Buffer.from('')", banned),
  plantedGlobal('protocols/planted-global.ts', 'globalThis', banned),
  plantedGlobal('protocols/planted-template.ts', '`${Date.now()}`', banned),
  plantedGlobal(
    'actors/connection/planted-signal.ts',
    'AbortSignal.timeout(1)',
    'no-restricted-properties',
  ),
];

const longFunction = `${header}export function long() {\n${'  String(1);\n'.repeat(71)}}\n`;
const branches = Array.from({ length: 16 }, (_, n) => `  if (n === ${n}) return ${n};\n`).join('');

const shapes: readonly Plant[] = [
  {
    what: 'a file of more than 400 lines',
    path: 'protocols/planted-long.ts',
    text: `${header}${Array.from({ length: 401 }, (_, n) => `export const n${n} = ${n};\n`).join('')}`,
    tidy: 'size',
    lint: 'max-lines',
  },
  {
    what: 'a file without a header',
    path: 'protocols/planted-bare.ts',
    text: 'export const mine = 1;\n',
    tidy: 'header',
  },
  {
    what: 'a barrel',
    path: 'protocols/index.ts',
    text: `${header}export * from './planted-a.ts';\n`,
    tidy: 'barrel',
  },
  {
    what: 'a file name in another case',
    path: 'protocols/plantedName.ts',
    text: `${header}export const mine = 1;\n`,
    tidy: 'name',
  },
  {
    what: 'an import without its ending',
    path: 'protocols/planted-ending.ts',
    text: `${header}import { value } from './errors';\nexport const mine = value;\n`,
    tidy: 'imports',
  },
  {
    what: 'half of a cycle',
    path: 'protocols/planted-a.ts',
    text: `${header}import { b } from './planted-b.ts';\nexport const a = () => b;\n`,
    tidy: 'cycles',
    lint: 'no-cycle',
  },
  {
    what: 'the other half of a cycle',
    path: 'protocols/planted-b.ts',
    text: `${header}import { a } from './planted-a.ts';\nexport const b = () => a;\n`,
    lint: 'no-cycle',
  },
  {
    what: 'a default export',
    path: 'protocols/planted-default.ts',
    text: `${header}export default 1;\n`,
    lint: 'no-default-export',
  },
  {
    what: 'a function of more than 70 lines',
    path: 'protocols/planted-function.ts',
    text: longFunction,
    lint: 'max-lines-per-function',
  },
  {
    what: 'five parameters',
    path: 'protocols/planted-parameters.ts',
    text: `${header}export const mine = (a: 1, b: 1, c: 1, d: 1, e: 1) => [a, b, c, d, e];\n`,
    lint: 'max-params',
  },
  {
    what: 'more than 15 branches',
    path: 'protocols/planted-branches.ts',
    text: `${header}export function mine(n: number) {\n${branches}  return 0;\n}\n`,
    lint: 'complexity',
  },
  {
    what: 'any',
    path: 'protocols/planted-any.ts',
    text: `${header}export const mine: any = 1;\n`,
    lint: 'no-explicit-any',
  },
  {
    what: 'a promise that nobody waits for',
    path: 'protocols/planted-floating.ts',
    text: `${header}export function mine() {\n  Promise.resolve(1);\n}\n`,
    lint: 'no-floating-promises',
  },
  {
    what: 'a promise where nobody expects one',
    path: 'protocols/planted-misused.ts',
    text: `${header}export const mine = () => [1].forEach(async () => {});\n`,
    lint: 'no-misused-promises',
  },
  {
    what: 'a switch that forgets a case',
    path: 'protocols/planted-switch.ts',
    text: `${header}export function mine(x: 'a' | 'b') {\n  switch (x) {\n    case 'a':\n      return 1;\n  }\n  return 2;\n}\n`,
    lint: 'switch-exhaustiveness-check',
  },
  {
    what: 'console in a transport',
    path: 'transports/nats/planted-console.ts',
    text: `${header}export const mine = () => console.log(1);\n`,
    lint: 'no-console',
  },
];

const pages: readonly Plant[] = [
  {
    what: 'a link to nothing',
    path: 'docs/planted-link.md',
    text: '[gone](./gone.md)\n',
    tidy: 'links',
  },
  {
    what: 'a script that is not there',
    path: 'docs/planted-script.md',
    text: 'Run `npm run no-such-script`.\n',
    tidy: 'scripts',
  },
  {
    what: 'an unfinished word',
    path: 'docs/planted-word.md',
    text: `${'TO'}${'DO'}: later\n`,
    tidy: 'words',
  },
  {
    what: 'a path of one machine',
    path: 'docs/planted-path.md',
    text: `See ${'/ho'}${'me/somebody'}.\n`,
    tidy: 'words',
  },
  {
    what: 'a skipped test',
    path: 'test/planted.test.ts',
    text: `${header}import { it } from 'vitest';\nit.${'skip'}('x', () => {});\n`,
    tidy: 'words',
  },
];

export const plants: readonly Plant[] = [...imports, ...globals, ...shapes, ...pages];
