#!/usr/bin/env node
// What `npm test` and `npm run demo` start: brings this clone into a state in which vwire runs, then runs the
// command. Plain JavaScript without a dependency, since it runs before the npm packages exist.
// Usage: node bin/bootstrap.mjs <prepare | test | bench | chaos | soak | any vwire command> [arguments]
// Invariants: stdout belongs to the command; signals and the exit code pass through; nothing is installed outside
// node_modules/, dist/ and the cache directory.

import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { accessSync, constants, mkdirSync } from 'node:fs';
import { constants as osConstants } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build, buildBenches, buildIsFresh } from './bootstrap/build.mjs';
import { provideDebianParts } from './bootstrap/debian.mjs';
import { withLock } from './bootstrap/lock.mjs';
import { installPackages, packagesAreInstalled } from './bootstrap/packages.mjs';
import { BootstrapError } from './bootstrap/steps.mjs';

const root = dirname(dirname(fileURLToPath(import.meta.url)));
/** Keep equal to `engines` in package.json; test/bin/bootstrap.test.ts compares them. */
const nodeVersionMin = [20, 19];

function checkNode() {
  const [major, minor] = process.versions.node.split('.').map(Number);
  const [majorMin, minorMin] = nodeVersionMin;
  if (major > majorMin || (major === majorMin && minor >= minorMin)) return;
  throw new BootstrapError(
    `vwire needs Node ${nodeVersionMin.join('.')} or later, found ${process.versions.node} at ${process.execPath}`,
  );
}

/** The first of the usual cache directories that can be written. */
function findCacheFolder() {
  const { XDG_CACHE_HOME: xdg, HOME: home } = process.env;
  const candidates = [
    ...(xdg ? [join(xdg, 'vwire')] : []),
    ...(home ? [join(home, '.cache/vwire')] : []),
    join(root, 'node_modules/.cache/vwire'),
  ];
  for (const folder of candidates) {
    try {
      mkdirSync(folder, { recursive: true });
      accessSync(folder, constants.W_OK);
      return folder;
    } catch {
      // The next candidate may do.
    }
  }
  throw new BootstrapError(
    `no cache directory can be written; tried ${candidates.join(', ')}. Set XDG_CACHE_HOME to one that can.`,
  );
}

async function prepareClone(cache) {
  if (packagesAreInstalled(root) && buildIsFresh(root)) return;
  const clone = createHash('sha256').update(root).digest('hex').slice(0, 16);
  await withLock(join(cache, `clone-${clone}.lock`), async () => {
    if (!packagesAreInstalled(root)) await installPackages(root);
    if (!buildIsFresh(root)) await build(root);
  });
}

/** Programs that are no part of the product: compiled apart, and given no command's name. */
const measuring = {
  bench: 'node_modules/.cache/bench/out/bench/run.js',
  chaos: 'node_modules/.cache/bench/out/bench/chaos/run.js',
  soak: 'node_modules/.cache/bench/out/bench/soak/run.js',
};

function commandLine(command, args) {
  if (command === 'test') return [join(root, 'node_modules/vitest/vitest.mjs'), 'run', ...args];
  if (Object.hasOwn(measuring, command)) return [join(root, measuring[command]), ...args];
  return [join(root, 'dist/bin/vwire.js'), command, ...args];
}

/** Runs the command in place of this process: same stdio, same signals, same end. */
async function run(command, args, env) {
  const child = spawn(process.execPath, commandLine(command, args), {
    cwd: command === 'test' || Object.hasOwn(measuring, command) ? root : process.cwd(),
    env: { ...process.env, ...env },
    stdio: 'inherit',
  });
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP', 'SIGQUIT', 'SIGUSR1', 'SIGUSR2']) {
    process.on(signal, () => child.kill(signal));
  }
  return new Promise((resolve, reject) => {
    child.once('error', reject);
    child.once('exit', (code, signal) =>
      resolve(signal === null ? code : 128 + osConstants.signals[signal]),
    );
  });
}

/** A preparation that is told to stop takes its children and locks along, which only a regular exit does. */
function leaveOnSignals() {
  const leave = (signal) => process.exit(128 + osConstants.signals[signal]);
  const signals = ['SIGINT', 'SIGTERM', 'SIGHUP'];
  for (const signal of signals) process.on(signal, leave);
  return () => {
    for (const signal of signals) process.off(signal, leave);
  };
}

async function main() {
  const [command = '--help', ...args] = process.argv.slice(2);
  checkNode();
  const cache = findCacheFolder();
  const prepared = leaveOnSignals();
  await prepareClone(cache);
  if (Object.hasOwn(measuring, command)) await buildBenches(root);
  const parts = await provideDebianParts(command, args, cache);
  prepared();
  return command === 'prepare' ? 0 : run(command, args, parts);
}

try {
  process.exitCode = await main();
} catch (error) {
  if (!(error instanceof BootstrapError)) throw error;
  process.stderr.write(`vwire: ${error.message}\n`);
  process.exitCode = 1;
}
