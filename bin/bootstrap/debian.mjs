// Finds the Debian programs that vwire runs as plain children, and unpacks missing ones into a cache. Nothing is
// installed, no service is started, no right is needed: apt works on lists, cache and locks of its own below the
// cache directory. Invariant: a cached package is complete, since it appears by a rename.

import {
  accessSync,
  chmodSync,
  constants,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { delimiter, dirname, join } from 'node:path';
import { withLock } from './lock.mjs';
import { BootstrapError, runStep } from './steps.mjs';

/** Which programs come from which package, the variable under which vwire learns the path, and who needs them. */
const debianParts = [
  {
    program: 'nats-server',
    package: 'nats-server',
    variable: 'VWIRE_NATS_SERVER',
    commands: ['prepare', 'test', 'demo', 'up'],
  },
];

/** Where Debian keeps programs; an ordinary user's PATH lacks the sbin folders. */
const systemFolders = [
  '/usr/local/sbin',
  '/usr/local/bin',
  '/usr/sbin',
  '/usr/bin',
  '/sbin',
  '/bin',
];
const listsAreFreshForMs = 12 * 3_600_000;

function isExecutable(path) {
  try {
    accessSync(path, constants.X_OK);
    return statSync(path).isFile();
  } catch {
    return false;
  }
}

function findOnSystem(part) {
  const named = process.env[part.variable];
  if (named !== undefined && named !== '') {
    if (isExecutable(named)) return named;
    throw new BootstrapError(`${part.variable}: expected an executable file, found ${named}`);
  }
  const folders = [...(process.env.PATH ?? '').split(delimiter).filter(Boolean), ...systemFolders];
  return folders.map((folder) => join(folder, part.program)).find(isExecutable);
}

function releaseName() {
  try {
    const release = readFileSync('/etc/os-release', 'utf8');
    return /^VERSION_CODENAME=(\S+)$/m.exec(release)?.[1] ?? 'unknown';
  } catch {
    return 'unknown';
  }
}

const packageFolder = (cache, part) =>
  join(cache, 'debian', `${releaseName()}-${process.arch}`, part.package);

/** A package with libraries of its own gets a launcher that names them; exec keeps the process id. */
function writeLauncher(folder, part) {
  const programs = systemFolders.map((name) => join(name.slice(1), part.program));
  const program = programs.find((path) => existsSync(join(folder, path)));
  if (program === undefined) {
    throw new BootstrapError(`the package ${part.package} holds no ${part.program}`);
  }
  const libraries = ['usr/lib', 'lib'].flatMap((base) =>
    existsSync(join(folder, base))
      ? readdirSync(join(folder, base))
          .filter((name) => name.endsWith('-linux-gnu'))
          .map((name) => `$here/${join(base, name)}`)
      : [],
  );
  const launcher = join(folder, part.program);
  const path = libraries.length > 0 ? `LD_LIBRARY_PATH="${libraries.join(':')}" ` : '';
  writeFileSync(
    launcher,
    `#!/bin/sh\nhere=$(dirname "$(readlink -f "$0")")\n${path}exec "$here/${program}" "$@"\n`,
  );
  chmodSync(launcher, 0o755);
}

function aptOptions(aptFolder) {
  for (const name of ['state/lists/partial', 'cache/archives/partial', 'log']) {
    mkdirSync(join(aptFolder, name), { recursive: true });
  }
  const options = {
    'Dir::State': join(aptFolder, 'state'),
    'Dir::State::lists': join(aptFolder, 'state/lists'),
    'Dir::State::status': '/var/lib/dpkg/status',
    'Dir::Cache': join(aptFolder, 'cache'),
    'Dir::Log': join(aptFolder, 'log'),
    'Debug::NoLocking': 'true',
    // As root apt would switch to a user that cannot enter the cache directory.
    'APT::Sandbox::User': '',
    'Acquire::Languages': 'none',
    'Acquire::Retries': '2',
    'Acquire::http::Timeout': '30',
    'Acquire::https::Timeout': '30',
  };
  return Object.entries(options).flatMap(([name, value]) => ['-o', `${name}=${value}`]);
}

/** The lists of one unreachable source must not stop the others: what is missing shows at the download. */
async function refreshLists(aptFolder, options) {
  const stamp = join(aptFolder, 'updated');
  if (existsSync(stamp) && Date.now() - statSync(stamp).mtimeMs < listsAreFreshForMs) return;
  await runStep({
    title: 'reading the package lists',
    file: 'apt-get',
    args: [...options, '-q', 'update'],
    timeoutMs: 3 * 60_000,
  }).catch((error) => {
    if (/is not installed/.test(error.message)) throw error;
    process.stderr.write(`${error.message.split('\n').slice(-3).join('\n')}\n`);
  });
  writeFileSync(stamp, '');
}

/** The package and those of its dependencies that this machine lacks. */
async function namesToDownload(part, options) {
  const plan = await runStep({
    title: `looking up ${part.package}`,
    file: 'apt-get',
    args: [...options, '-q', '-s', '--no-install-recommends', 'install', part.package],
    timeoutMs: 60_000,
  });
  const missing = [...plan.matchAll(/^Inst (\S+)/gm)].map((match) => match[1]);
  return missing.includes(part.package) ? missing : [part.package, ...missing];
}

async function unpack(part, folder, aptFolder) {
  const options = aptOptions(aptFolder);
  await refreshLists(aptFolder, options);
  const names = await namesToDownload(part, options);
  const work = mkdtempSync(join(aptFolder, 'unpack-'));
  try {
    chmodSync(work, 0o755);
    await runStep({
      title: `downloading ${names.join(', ')}`,
      file: 'apt-get',
      args: [...options, '-q', 'download', ...names],
      timeoutMs: 5 * 60_000,
      cwd: work,
    });
    for (const name of readdirSync(work).filter((entry) => entry.endsWith('.deb'))) {
      await runStep({
        title: `unpacking ${name}`,
        file: 'dpkg-deb',
        args: ['-x', join(work, name), join(work, 'root')],
        timeoutMs: 60_000,
      });
    }
    writeLauncher(join(work, 'root'), part);
    mkdirSync(join(folder, '..'), { recursive: true });
    renameSync(join(work, 'root'), folder);
  } catch (error) {
    // The lists may be what is wrong: the next attempt reads them anew.
    rmSync(join(aptFolder, 'updated'), { force: true });
    throw error;
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
}

async function fetchPart(part, cache) {
  const folder = packageFolder(cache, part);
  const launcher = join(folder, part.program);
  if (isExecutable(launcher)) return launcher;
  await withLock(join(cache, 'debian.lock'), async () => {
    if (isExecutable(launcher)) return;
    rmSync(folder, { recursive: true, force: true });
    await unpack(part, folder, join(cache, 'apt'));
  }).catch((error) => {
    throw new BootstrapError(
      `${part.program} is missing and could not be fetched. Install it by hand ` +
        `(apt-get install ${part.package}) or name the program in ${part.variable}.\n${error.message}`,
    );
  });
  return launcher;
}

/**
 * The environment in which a command finds the parts that it needs, each on this machine or unpacked below `cache`:
 * every path in the part's own variable, and its folder in PATH.
 */
export async function provideDebianParts(command, cache) {
  const found = {};
  const folders = [];
  for (const part of debianParts.filter(({ commands }) => commands.includes(command))) {
    const path = findOnSystem(part) ?? (await fetchPart(part, cache));
    found[part.variable] = path;
    folders.push(dirname(path));
  }
  return { ...found, PATH: [process.env.PATH ?? '', ...folders].filter(Boolean).join(delimiter) };
}
