// Protects the command line: help teaches, mistakes are explained with exit code 64 and the nearest right word, and
// completion offers what is accepted. Runs the real program.

import { spawnSync } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { parseArguments, UsageError } from '../../bin/commands/arguments.ts';
import { catalog } from '../../bin/commands/catalog.ts';
import { nearestName } from '../../bin/commands/nearest-name.ts';

const repository = join(import.meta.dirname, '../..');

function vwire(...args: readonly string[]) {
  return vwireWith({}, ...args);
}

function vwireWith(env: Readonly<Record<string, string>>, ...args: readonly string[]) {
  const { status, stdout, stderr } = spawnSync(
    process.execPath,
    [join(repository, 'dist/bin/vwire.js'), ...args],
    { encoding: 'utf8', env: { PATH: process.env['PATH'], ...env }, timeout: 20_000 },
  );
  return { status, stdout, stderr };
}

describe('help', () => {
  it('names every role and command, where to start, and the exit codes', () => {
    const { status, stdout, stderr } = vwire('--help');
    expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
    for (const { name, summary } of catalog)
      expect(stdout).toMatch(new RegExp(`${name} +${summary.slice(0, 20)}`));
    expect(stdout).toContain('vwire demo');
    expect(stdout).toContain('Exit codes');
  });

  it.each([
    ['nsmgr', '--help'],
    ['help', 'nsmgr'],
  ])('of a role lists its variables: %s %s', (...args) => {
    const { status, stdout } = vwire(...args);
    expect(status).toBe(0);
    expect(stdout).toContain('Usage: vwire nsmgr');
    expect(stdout).toContain('NSM_DIAL_TIMEOUT (duration, default 750ms)');
    expect(stdout).toContain('Examples:');
  });
});

it('knows a role by the name of its counterpart in the reference too', () => {
  const { status, stdout } = vwire('registry-memory', '--help');
  expect(status).toBe(0);
  expect(stdout).toContain('Usage: vwire registry');
  expect(stdout).toContain('NSM_PROXY_REGISTRY_URL');
});

describe('a mistake on the command line', () => {
  it.each([
    [['stauts'], 'Did you mean: vwire status'],
    [['xyzzy-no-such'], 'Try: vwire --help'],
    [['completion', 'fish'], 'Allowed choices are bash, zsh'],
    [['completion'], 'missing required argument'],
    [['completion', 'bash', '--colour'], 'unknown option'],
  ])('%j is explained and ends with 64', (args, text) => {
    const { status, stdout, stderr } = vwire(...args);
    expect({ status, stdout }).toEqual({ status: 64, stdout: '' });
    expect(stderr).toContain(text);
    expect(stderr).not.toContain('    at ');
  });

  it('never gets past the parser as anything but a UsageError', () => {
    const words = catalog.flatMap(({ name, operandChoices = [], options }) => [
      name,
      ...operandChoices,
      ...options.flatMap(({ flags, choices = [] }) => [...flags.split(/[ ,]+/), ...choices]),
    ]);
    const word = fc.oneof(fc.constantFrom(...words), fc.string(), fc.constantFrom('--', '-', ''));
    fc.assert(
      fc.property(
        fc.constantFrom(...catalog.map(({ name }) => name)),
        fc.array(word, { maxLength: 6 }),
        (name, args) => {
          try {
            parseArguments(name, args);
          } catch (error) {
            expect(error).toBeInstanceOf(UsageError);
          }
        },
      ),
      { numRuns: 2000 },
    );
  });
});

it('a passthrough refuses the expiry policy that it cannot follow, before it opens anything', () => {
  const env = { VWIRE_EXPIRY: 'keep-while-alive' };
  const { status, stderr } = vwireWith(env, 'nse', 'passthrough');
  expect(status).toBe(64);
  expect(stderr).toContain('VWIRE_EXPIRY: expected close');
});

it('suggests the nearest name within a third of the letters', () => {
  expect(nearestName('describ', ['describe', 'demo'])).toBe('describe');
  expect(nearestName('NSM_DAIL_TIMEOUT', ['NSM_NAME', 'NSM_DIAL_TIMEOUT'])).toBe(
    'NSM_DIAL_TIMEOUT',
  );
  expect(nearestName('x', ['describe'])).toBeUndefined();
});

it.each(['roles', 'commands'])('everything that help names has its module in bin/%s', (folder) => {
  const kind = folder === 'roles' ? 'role' : 'command';
  const files = readdirSync(join(repository, 'bin', folder));
  const named = catalog.filter((row) => row.kind === kind).map(({ name }) => `${name}.ts`);
  expect(named.filter((name) => !files.includes(name))).toEqual([]);
});

describe('shell completion', () => {
  const complete = (...words: readonly string[]) => {
    const { stdout } = vwire('completion', 'bash');
    const script = `${stdout}
COMP_WORDS=(${words.map((word) => `'${word}'`).join(' ')}); COMP_CWORD=$((\${#COMP_WORDS[@]} - 1)); _vwire
printf '%s\\n' "\${COMPREPLY[@]}"`;
    return spawnSync('bash', ['-c', script], { encoding: 'utf8' }).stdout.trim().split('\n');
  };

  it('offers commands, operands, options and the words of an option', () => {
    expect(complete('vwire', 'st')).toEqual(['status']);
    expect(complete('vwire', 'get', 'e')).toEqual(['endpoints']);
    expect(complete('vwire', 'demo', '--s')).toEqual(['--sabotage']);
    expect(complete('vwire', 'demo', '--sabotage', '')).toEqual(['wire', 'endpoint', 'forwarder']);
    expect(complete('vwire', 'get', '-o', 'y')).toEqual(['yaml']);
  });
});
