// Releases to change from and to, each compiled, in a scratch folder that goes with them: the previous one, made from the
// history of this repository or given by hand, and one whose every format number is raised, which is this very program
// with another protocols/formats. Where the previous one cannot be had, it is said why.

import { execFile } from 'node:child_process';
import { cpSync, existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync } from 'node:fs';
import { rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { describeError } from '../../protocols/errors.ts';
import { formats } from '../../protocols/formats.ts';

/** Compiled files to run. */
export interface OtherReleases {
  readonly previous?: string;
  readonly raised?: string;
}

export interface Releases {
  readonly others: OtherReleases;
  /** Why there is no previous one. */
  readonly whyNoPrevious?: string;
  /** Removes what was made. */
  end(): void;
}

export interface ReleasesWanted {
  readonly needs: ReadonlySet<keyof OtherReleases>;
  /** Folder with package.json, node_modules and, for the previous release, the history. */
  readonly repository: string;
  /** A compiled tree in place of the previous release. */
  readonly previousDir?: string | undefined;
  /** The compiled file of this release; this very program by default. */
  readonly executable?: string | undefined;
  readonly progress: (text: string) => void;
}

const run = promisify(execFile);
const archiveTimeoutMs = 60_000;
const installTimeoutMs = 600_000;
const compileTimeoutMs = 180_000;
const entry = 'dist/bin/vwire.js';

export async function provideReleases(wanted: ReleasesWanted): Promise<Releases> {
  const scratch = mkdtempSync(join(tmpdir(), 'vwire-releases-'));
  const end = (): void => rmSync(scratch, { recursive: true, force: true });
  try {
    const raised = wanted.needs.has('raised') ? raise(wanted, join(scratch, 'raised')) : undefined;
    const previous = wanted.needs.has('previous')
      ? await previousOf(wanted, join(scratch, 'previous'))
      : {};
    const others = {
      ...(raised === undefined ? {} : { raised }),
      ...(previous.executable === undefined ? {} : { previous: previous.executable }),
    };
    return {
      others,
      end,
      ...(previous.reason === undefined ? {} : { whyNoPrevious: previous.reason }),
    };
  } catch (error) {
    end();
    throw error;
  }
}

/** This very program, compiled, which writes later formats than it. */
function raise({ executable, repository }: ReleasesWanted, folder: string): string {
  const own = executable ?? fileURLToPath(new URL('../../bin/vwire.js', import.meta.url));
  cpSync(dirname(dirname(own)), join(folder, 'dist'), { recursive: true });
  cpSync(join(repository, 'package.json'), join(folder, 'package.json'));
  symlinkSync(join(repository, 'node_modules'), join(folder, 'node_modules'));
  const raised = Object.fromEntries(
    Object.entries(formats).map(([name, version]) => [name, version + 1]),
  );
  replaceFormats(join(folder, 'dist'), JSON.stringify(raised));
  return join(folder, entry);
}

/** In the one file of the compiled program in which they stand. */
function replaceFormats(dist: string, raised: string): void {
  const formatsIn = /(\b(?:var|const) formats = )\{[^}]*\}/;
  const files = readdirSync(dist, { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('.js'))
    .map((name) => join(dist, name))
    .filter((file) => formatsIn.test(readFileSync(file, 'utf8')));
  const [file, ...others] = files;
  if (file === undefined || others.length > 0) {
    throw new Error(`expected the formats in one file of ${dist}, found: ${files.join(', ')}`);
  }
  writeFileSync(file, readFileSync(file, 'utf8').replace(formatsIn, `$1${raised}`));
}

interface Previous {
  readonly executable?: string;
  readonly reason?: string;
}

async function previousOf(wanted: ReleasesWanted, folder: string): Promise<Previous> {
  const { previousDir, repository, progress } = wanted;
  if (previousDir !== undefined) {
    const executable = resolve(previousDir, entry);
    if (existsSync(executable)) return { executable };
    throw new Error(`the previous release: expected a compiled tree with ${executable}`);
  }
  const release = releaseIn(repository);
  progress(`making the previous release, ${release}`);
  mkdirSync(folder);
  try {
    const archive = `${folder}.tar`;
    await run('git', ['-C', repository, 'archive', '-o', archive, release], {
      timeout: archiveTimeoutMs,
    });
    await run('tar', ['-xf', archive, '-C', folder], { timeout: archiveTimeoutMs });
  } catch (error) {
    const reason = describeError(error).trim().split('\n').at(-1);
    return { reason: `the history here does not have ${release} (${reason})` };
  }
  await compile(repository, folder);
  return { executable: join(folder, entry) };
}

/** As recorded in package.json. */
function releaseIn(repository: string): string {
  const text = readFileSync(join(repository, 'package.json'), 'utf8');
  return (JSON.parse(text) as { vwire: { previousRelease: string } }).vwire.previousRelease;
}

async function compile(repository: string, folder: string): Promise<void> {
  const lockOf = (root: string): string => readFileSync(join(root, 'package-lock.json'), 'utf8');
  if (lockOf(repository) === lockOf(folder)) {
    symlinkSync(join(repository, 'node_modules'), join(folder, 'node_modules'));
  } else {
    const install = ['ci', '--no-audit', '--no-fund', '--prefer-offline'];
    await run('npm', install, { cwd: folder, timeout: installTimeoutMs });
  }
  const bundler = join(folder, 'bin/bootstrap/bundle.mjs');
  if (existsSync(bundler)) {
    await run(process.execPath, [bundler], { cwd: folder, timeout: compileTimeoutMs });
    return;
  }
  const compiler = join(folder, 'node_modules/typescript/bin/tsc');
  // What the compiler remembers must not be written through the link.
  const memory = ['--tsBuildInfoFile', join(folder, 'previous.tsbuildinfo')];
  await run(process.execPath, [compiler, '-p', 'tsconfig.build.json', ...memory], {
    cwd: folder,
    timeout: compileTimeoutMs,
  });
}
