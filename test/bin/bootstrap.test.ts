// Protects the first command on a bare clone: the bootstrap hands arguments, signals and exit codes through, notices
// what has to be installed or built, and unpacks a missing Debian program into the cache. It runs in a tree of its
// own, with an apt of its own, so that no test needs a network.

import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import {
  chmodSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';

const repository = join(import.meta.dirname, '../..');
let tree = '';

function put(path: string, text: string, mode = 0o644): void {
  mkdirSync(dirname(join(tree, path)), { recursive: true });
  writeFileSync(join(tree, path), text);
  chmodSync(join(tree, path), mode);
}

const lockFile = (version: string) =>
  JSON.stringify({
    packages: {
      'node_modules/one': { version },
      'node_modules/other-platform': { version: '1.0.0', optional: true },
    },
  });

/** A program that tells what it was given, then does what its first argument says. */
const program = `
if (process.argv[2] === 'fail') process.exitCode = 7;
if (process.argv[2] === 'wait') {
  process.on('SIGTERM', () => process.exit(42));
  setInterval(() => {}, 1000);
}
console.log(JSON.stringify({ args: process.argv.slice(2), nats: process.env.VWIRE_NATS_SERVER, path: process.env.PATH }));
`;

beforeEach(() => {
  tree = mkdtempSync(join(tmpdir(), 'vwire-bootstrap-'));
  chmodSync(tree, 0o755);
  for (const name of ['bootstrap', 'bootstrap.mjs']) {
    cpSync(join(repository, 'bin', name), join(tree, 'bin', name), { recursive: true });
  }
  put('package-lock.json', lockFile('1.0.0'));
  put(
    'node_modules/.package-lock.json',
    lockFile('1.0.0').replace(/,"node_modules.other-platform.*?}/, ''),
  );
  put('tsconfig.json', '{}');
  put('tsconfig.build.json', '{}');
  put('dist/bin/vwire.js', program);
  put('dist/.built', '');
  const later = new Date(Date.now() + 60_000);
  utimesSync(join(tree, 'dist/.built'), later, later);
});

afterEach(() => rmSync(tree, { recursive: true, force: true }));

// Without what the bootstrap that runs these tests has put into PATH: its own cache.
const searched = (process.env['PATH'] ?? '')
  .split(':')
  .filter((folder) => !folder.includes('vwire/debian/'))
  .join(':');

const environment = () => ({
  PATH: `${join(tree, 'fake')}:${searched}`,
  HOME: join(tree, 'home'),
});

function bootstrap(...args: readonly string[]) {
  const script = join(tree, 'bin/bootstrap.mjs');
  return spawnSync(process.execPath, [script, ...args], {
    encoding: 'utf8',
    env: environment(),
    timeout: 20_000,
  });
}

it('demands the Node version that package.json states', () => {
  const manifest = JSON.parse(readFileSync(join(repository, 'package.json'), 'utf8')) as {
    engines: { node: string };
  };
  const [major, minor] = /(\d+)\.(\d+)/.exec(manifest.engines.node)?.slice(1) ?? [];
  const source = readFileSync(join(repository, 'bin/bootstrap.mjs'), 'utf8');
  expect(source).toContain(`const nodeVersionMin = [${major}, ${minor}];`);
});

describe('a prepared clone', () => {
  it('runs the command with its arguments and exit code, and prints nothing itself', () => {
    const { status, stdout, stderr } = bootstrap('fail', '--json', 'a b');
    expect({ status, stderr }).toEqual({ status: 7, stderr: '' });
    expect(JSON.parse(stdout)).toMatchObject({ args: ['fail', '--json', 'a b'] });
  });

  it('hands signals through', async () => {
    const child = spawn(process.execPath, [join(tree, 'bin/bootstrap.mjs'), 'wait'], {
      env: environment(),
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    const closed = once(child, 'close');
    await once(child.stdout, 'data');
    child.kill('SIGTERM');
    const [code] = await closed;
    expect(code).toBe(42);
  });
});

describe('a clone that needs work', () => {
  it('installs packages when the lock file demands another version, and says why it could not', () => {
    put('package-lock.json', lockFile('2.0.0'));
    put('fake/npm', '#!/bin/sh\necho "npm $*"; echo "registry is away" >&2; exit 1\n', 0o755);
    const { status, stdout, stderr } = bootstrap('status');
    expect({ status, stdout }).toEqual({ status: 1, stdout: '' });
    expect(stderr).toContain('installing npm packages: npm ended with exit code 1');
    expect(stderr).toContain('npm ci');
    expect(stderr).toContain('registry is away');
  });

  it('that is told to stop takes the installation along', async () => {
    put('package-lock.json', lockFile('2.0.0'));
    put(
      'fake/npm',
      '#!/bin/sh\nmkdir -p "$HOME"; echo $$ > "$HOME/npm.pid"; exec sleep 60\n',
      0o755,
    );
    const child = spawn(process.execPath, [join(tree, 'bin/bootstrap.mjs'), 'status'], {
      env: environment(),
      stdio: 'ignore',
    });
    const closed = once(child, 'close');
    const pidOfNpm = () => Number(readFileSync(join(tree, 'home/npm.pid'), 'utf8'));
    await expect.poll(() => pidOfNpm(), { timeout: 10_000 }).toBeGreaterThan(0);
    child.kill('SIGINT');
    expect((await closed)[0]).toBe(130);
    await expect.poll(() => existsSync(`/proc/${pidOfNpm()}`), { timeout: 10_000 }).toBe(false);
    const locks = readdirSync(join(tree, 'home/.cache/vwire'));
    expect(locks.filter((name) => name.endsWith('.lock'))).toEqual([]);
  });

  it.each([
    ['compile', 'typescript/bin/tsc', 'console.log("new.ts(1,1): error"); process.exit(2);'],
    ['fit together', 'esbuild/package.json', '{'],
  ])(
    'builds when a source is newer than the last build, and never runs what did not %s',
    (_, file, text) => {
      put('bin/new.ts', '');
      const later = new Date(Date.now() + 120_000);
      utimesSync(join(tree, 'bin/new.ts'), later, later);
      put('node_modules/typescript/bin/tsc', '');
      put(`node_modules/${file}`, text);
      const { status, stdout, stderr } = bootstrap('status');
      expect({ status, stdout }).toEqual({ status: 1, stdout: '' });
      expect(stderr).toContain(file === 'esbuild/package.json' ? file : 'new.ts(1,1): error');
    },
  );
});

/** Hides the machine's own nats-server in a mount namespace of its own. */
function hidden(command: readonly string[]) {
  const hide =
    'for f in /usr/local/sbin /usr/local/bin /usr/sbin /usr/bin /sbin /bin; do [ -e $f/nats-server ] && mount --bind /dev/null $f/nats-server; done; exec "$@"';
  return spawnSync('unshare', ['-Urm', 'sh', '-c', hide, 'sh', ...command], {
    encoding: 'utf8',
    env: environment(),
    timeout: 20_000,
  });
}

const namespaces = spawnSync('unshare', ['-Urm', 'true'], { encoding: 'utf8' });
const refusal =
  namespaces.status === 0 ? '' : ` (skipped: no namespaces here: ${namespaces.stderr})`;

describe.runIf(namespaces.status === 0)(`a missing Debian program${refusal}`, () => {
  const fakeApt = `#!/bin/sh
echo "$*" >> "$HOME/apt.log"
case "$*" in
  *" update") ;;
  *" -s "*) echo "Inst libthing (1)"; echo "Inst nats-server (2)" ;;
  *" download "*) touch libthing_1.deb nats-server_2.deb ;;
esac
`;
  const fakeDpkg = `#!/bin/sh
case "$2" in
  *libthing*) mkdir -p "$3/usr/lib/x86_64-linux-gnu" ;;
  *) mkdir -p "$3/usr/sbin"
     printf '#!/bin/sh\\necho "$LD_LIBRARY_PATH $*"\\n' > "$3/usr/sbin/nats-server"
     chmod 755 "$3/usr/sbin/nats-server" ;;
esac
`;

  beforeEach(() => {
    mkdirSync(join(tree, 'home'));
    put('fake/dpkg-deb', fakeDpkg, 0o755);
  });

  const up = () => hidden([process.execPath, join(tree, 'bin/bootstrap.mjs'), 'up']);

  it('is unpacked into the cache once, with its libraries, and named to the command', () => {
    put('fake/apt-get', fakeApt, 0o755);
    const { nats, path } = JSON.parse(up().stdout) as { nats: string; path: string };
    expect(path.split(':')).toContain(dirname(nats));
    expect(nats.startsWith(join(tree, 'home/.cache/vwire/debian'))).toBe(true);
    const { stdout } = spawnSync(nats, ['--version'], { encoding: 'utf8' });
    expect(stdout).toBe(`${dirname(nats)}/usr/lib/x86_64-linux-gnu --version\n`);
    const calls = readFileSync(join(tree, 'home/apt.log'), 'utf8');
    expect(calls).toContain(`Dir::State::lists=${join(tree, 'home/.cache/vwire/apt')}`);
    expect(up().status).toBe(0);
    expect(readFileSync(join(tree, 'home/apt.log'), 'utf8')).toBe(calls);
  });

  it('that cannot be fetched is named with the package, the variable and the reason', () => {
    put('fake/apt-get', '#!/bin/sh\necho "E: no route to the mirror" >&2; exit 100\n', 0o755);
    const { status, stdout, stderr } = up();
    expect({ status, stdout }).toEqual({ status: 1, stdout: '' });
    expect(stderr).toContain('apt-get install nats-server');
    expect(stderr).toContain('VWIRE_NATS_SERVER');
    expect(stderr).toContain('no route to the mirror');
    expect(existsSync(join(tree, 'home/.cache/vwire/debian.lock'))).toBe(false);
  });
});
