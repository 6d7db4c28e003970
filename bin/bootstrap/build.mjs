// Makes dist/ of the sources when one of them is newer than the last build: programs in a few files each, and the types
// of the package. Folders count too, so that a removed file is noticed. Invariant: the compiler's record of what it
// emitted never outlives dist/ itself.

import {
  copyFileSync,
  existsSync,
  mkdirSync,
  readdirSync,
  rmSync,
  statSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { runStep } from './steps.mjs';

const sourceFolders = ['actors', 'bin', 'dataplane', 'protocols', 'transports'];
const sourceFiles = ['tsconfig.json', 'tsconfig.build.json', 'package-lock.json'];
const stampName = 'dist/.built';

function newestMs(path) {
  const own = statSync(path).mtimeMs;
  if (!statSync(path).isDirectory()) return own;
  return Math.max(own, ...readdirSync(path).map((name) => newestMs(join(path, name))));
}

export function buildIsFresh(root) {
  const stamp = join(root, stampName);
  if (!existsSync(stamp) || !existsSync(join(root, 'dist/bin/vwire.js'))) return false;
  const builtMs = statSync(stamp).mtimeMs;
  return [...sourceFolders, ...sourceFiles].every(
    (name) => !existsSync(join(root, name)) || newestMs(join(root, name)) < builtMs,
  );
}

export async function build(root) {
  if (!existsSync(join(root, stampName))) {
    rmSync(join(root, 'node_modules/.cache/tsc/build.tsbuildinfo'), { force: true });
  }
  // Taken before the compiler reads the sources: a file saved meanwhile counts as newer.
  const startedAt = new Date();
  await runStep({
    title: 'compiling',
    file: process.execPath,
    args: [join(root, 'node_modules/typescript/bin/tsc'), '-p', 'tsconfig.build.json'],
    timeoutMs: 3 * 60_000,
    cwd: root,
  });
  await runStep({
    title: 'bundling',
    file: process.execPath,
    args: [join(root, 'bin/bootstrap/bundle.mjs')],
    timeoutMs: 60_000,
    cwd: root,
  });
  mkdirSync(join(root, 'dist'), { recursive: true });
  writeFileSync(join(root, stampName), startedAt.toISOString());
  utimesSync(join(root, stampName), startedAt, startedAt);
}

/** Benches, chaos and soak with all that they use, apart from dist/. */
export async function buildBenches(root) {
  const folder = join(root, 'node_modules/.cache/bench');
  mkdirSync(folder, { recursive: true });
  copyFileSync(join(root, 'package.json'), join(folder, 'package.json'));
  await runStep({
    title: 'compiling the benches',
    file: process.execPath,
    args: [join(root, 'node_modules/typescript/bin/tsc'), '-p', 'tsconfig.bench.json'],
    timeoutMs: 3 * 60_000,
    cwd: root,
  });
}
