// Brings node_modules in line with package-lock.json. They are compared by content, not by age, since a fresh clone
// and a change of branch both give files new times.

import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { runStep } from './steps.mjs';

const readPackages = (path) => JSON.parse(readFileSync(path, 'utf8')).packages ?? {};

/** Packages of other platforms stand in the lock file but are not installed. */
const mayBeAbsent = (wanted) => Boolean(wanted.optional || wanted.devOptional || wanted.peer);

/** True where every package that the lock file demands is installed in that version. */
export function packagesAreInstalled(root) {
  const installedPath = join(root, 'node_modules/.package-lock.json');
  if (!existsSync(installedPath)) return false;
  const installed = readPackages(installedPath);
  return Object.entries(readPackages(join(root, 'package-lock.json'))).every(
    ([path, wanted]) =>
      path === '' ||
      installed[path]?.version === wanted.version ||
      (installed[path] === undefined && mayBeAbsent(wanted)),
  );
}

/** Installs what the lock file names; needs the registry or a warm npm cache. */
export async function installPackages(root) {
  await runStep({
    title: 'installing npm packages',
    file: 'npm',
    args: ['ci', '--no-audit', '--no-fund', '--prefer-offline'],
    timeoutMs: 10 * 60_000,
    cwd: root,
  });
}
