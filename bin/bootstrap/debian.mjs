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

/** Which programs come from which package, the variable under which vwire learns a path, if any, and who needs them. */
const debianParts = [
  {
    package: 'nats-server',
    programs: [{ name: 'nats-server', variable: 'VWIRE_NATS_SERVER' }],
    commands: ['prepare', 'test', 'demo', 'up', 'bench', 'chaos', 'soak'],
  },
  {
    package: 'openvswitch-switch',
    programs: [
      { name: 'ovsdb-tool', variable: 'VWIRE_OVSDB_TOOL' },
      { name: 'ovsdb-server', variable: 'VWIRE_OVSDB_SERVER' },
      { name: 'ovs-vswitchd', variable: 'VWIRE_OVS_VSWITCHD' },
    ],
    commands: ['prepare', 'test', 'demo ovs', 'bench'],
    // Its tests say that they are skipped, and why.
    isOptional: true,
  },
  // What the tests, the guides that they run and the benches use beside vwire itself.
  { package: 'iproute2', programs: [{ name: 'ip' }], commands: ['prepare', 'test'] },
  { package: 'iputils-ping', programs: [{ name: 'ping' }], commands: ['prepare', 'test'] },
  { package: 'iperf3', programs: [{ name: 'iperf3' }], commands: ['prepare', 'test', 'bench'] },
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
/** Where a package has a program that its installation only links to. */
const packageFolders = [...systemFolders, '/usr/lib/openvswitch-switch'];
const listsAreFreshForMs = 12 * 3_600_000;

function isExecutable(path) {
  try {
    accessSync(path, constants.X_OK);
    return statSync(path).isFile();
  } catch {
    return false;
  }
}

function findOnSystem({ name, variable }) {
  const named = variable === undefined ? undefined : process.env[variable];
  if (named !== undefined && named !== '') {
    if (isExecutable(named)) return named;
    throw new BootstrapError(`${variable}: expected an executable file, found ${named}`);
  }
  const folders = [...(process.env.PATH ?? '').split(delimiter).filter(Boolean), ...systemFolders];
  return folders.map((folder) => join(folder, name)).find(isExecutable);
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
function writeLauncher(folder, part, name) {
  const places = packageFolders.map((place) => join(place.slice(1), name));
  const program = places.find((path) => existsSync(join(folder, path)));
  if (program === undefined) {
    throw new BootstrapError(`the package ${part.package} holds no ${name}`);
  }
  const libraries = ['usr/lib', 'lib'].flatMap((base) =>
    existsSync(join(folder, base))
      ? readdirSync(join(folder, base))
          .filter((entry) => entry.endsWith('-linux-gnu'))
          .map((entry) => `$here/${join(base, entry)}`)
      : [],
  );
  const launcher = join(folder, name);
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
    for (const { name } of part.programs) writeLauncher(join(work, 'root'), part, name);
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

function namedIn({ programs }) {
  const variables = programs.flatMap(({ variable }) => variable ?? []);
  return variables.length === 0 ? '' : ` or name in ${variables.join(', ')}`;
}

/** Returns the folder that holds the launchers of all its programs. */
async function fetchPart(part, cache) {
  const folder = packageFolder(cache, part);
  const names = part.programs.map(({ name }) => name);
  const isThere = () => names.every((name) => isExecutable(join(folder, name)));
  if (isThere()) return folder;
  await withLock(join(cache, 'debian.lock'), async () => {
    if (isThere()) return;
    rmSync(folder, { recursive: true, force: true });
    await unpack(part, folder, join(cache, 'apt'));
  }).catch((error) => {
    throw new BootstrapError(
      `${names.join(', ')}: missing, and could not be fetched. Install by hand ` +
        `(apt-get install ${part.package})${namedIn(part)}.\n${error.message}`,
    );
  });
  return folder;
}

async function pathsIfAny(part, cache) {
  try {
    return await pathsOf(part, cache);
  } catch (error) {
    if (part.isOptional !== true || !(error instanceof BootstrapError)) throw error;
    process.stderr.write(`goes on without ${part.package}: ${error.message}\n`);
    return [];
  }
}

/** A part's programs with their paths: all of this machine, or all of the cache. */
async function pathsOf(part, cache) {
  const { programs } = part;
  const found = programs.map((program) => ({ ...program, path: findOnSystem(program) }));
  if (found.every(({ path }) => path !== undefined)) return found;
  const folder = await fetchPart(part, cache);
  return programs.map((program) => ({ ...program, path: join(folder, program.name) }));
}

/**
 * The environment in which a command with these arguments finds the parts that it needs, each on this machine or unpacked below `cache`:
 * every path in the part's own variable, and its folder in PATH.
 */
export async function provideDebianParts(command, args, cache) {
  const found = {};
  const folders = [];
  const uses = [command, ...args.map((argument) => `${command} ${argument.split('=').at(-1)}`)];
  for (const part of debianParts.filter(({ commands }) =>
    uses.some((use) => commands.includes(use)),
  )) {
    for (const { variable, path } of await pathsIfAny(part, cache)) {
      if (variable !== undefined) found[variable] = path;
      folders.push(dirname(path));
    }
  }
  return {
    ...found,
    PATH: [process.env.PATH ?? '', ...new Set(folders)].filter(Boolean).join(delimiter),
  };
}
