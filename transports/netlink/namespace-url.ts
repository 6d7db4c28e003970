// From a namespace's URL to an open descriptor: `file://` paths and `inode://<dev>/<ino>` (NSM's inodeURL).
// Invariants: the descriptor is verified to be a network namespace; no descriptor is kept, since one that is kept
// would keep a dead namespace alive; a path that is a FIFO or a device cannot block or be triggered.

import {
  closeSync,
  constants,
  openSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  statSync,
} from 'node:fs';
import { fileURLToPath } from 'node:url';

import { NsmError } from '../../protocols/errors.ts';
import { libc, networkNamespace } from './libc.ts';

/** _IO(0xb7, 3) of linux/nsfs.h: which kind of namespace a descriptor is. */
const getNamespaceType = 0xb703;

function notFound(url: string, found: string, remedy: string): NsmError {
  return new NsmError('NOT_FOUND', `network namespace ${url} is not there`, {
    rule: 'namespace URL',
    expected: 'a live network namespace',
    found,
    remedy,
  });
}

const inodeUrl = /^inode:\/\/(\d+)\/(\d+)$/;

/** Opens the namespace; the caller closes. INVALID_ARGUMENT: not such a URL; NOT_FOUND: no such namespace. */
export function openNamespace(url: string): number {
  const inode = inodeUrl.exec(url);
  if (inode !== null) return openByInode(url, Number(inode[1]), Number(inode[2]));
  if (!url.startsWith('file:///')) throw invalidUrl(url);
  let path: string;
  try {
    path = fileURLToPath(url);
  } catch {
    throw invalidUrl(url);
  }
  return openPath(url, path);
}

/** `inode://<dev>/<ino>` of a namespace file. */
export function namespaceInodeUrl(path: string): string {
  const { dev, ino } = statSync(path);
  return `inode://${dev}/${ino}`;
}

function invalidUrl(url: string): NsmError {
  return new NsmError('INVALID_ARGUMENT', 'the network namespace URL is malformed', {
    rule: 'namespace URL',
    expected: 'file:///path or inode://<dev>/<ino>',
    found: JSON.stringify(url),
  });
}

function openPath(url: string, path: string): number {
  let descriptor: number;
  try {
    const { isFile, found } = describe(path);
    if (!isFile) throw notFound(url, `${path} is ${found}`, 'name a namespace file');
    descriptor = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
  } catch (error) {
    if (error instanceof NsmError) throw error;
    const code = (error as NodeJS.ErrnoException).code ?? String(error);
    throw notFound(url, `${code} at ${path}`, 'check that the workload still runs');
  }
  if (libc.ioctl(descriptor, getNamespaceType) === networkNamespace) return descriptor;
  closeSync(descriptor);
  throw notFound(url, `${path} is no network namespace`, 'name a file such as /proc/PID/ns/net');
}

function describe(path: string): { isFile: boolean; found: string } {
  const status = statSync(path);
  if (status.isFile()) return { isFile: true, found: 'a file' };
  return { isFile: false, found: status.isDirectory() ? 'a directory' : 'no regular file' };
}

/** Where the last namespaces were found, so that as a rule one look is enough. */
const foundAt = new Map<string, string>();
/** When they were looked for in vain: a look at every process of a machine takes milliseconds. */
const missedAtMs = new Map<string, number>();
const rememberedMax = 4_096;
const missedForMs = 100;

/**
 * A path that leads to the namespace of an `inode://` URL as long as its workload wants it: of a process that is in it, a
 * name that it was given, or a descriptor by which somebody works with it. Undefined where there is none. A descriptor
 * that only names it (O_PATH), as those that are handed from process to process do, does not count: it would keep a
 * namespace for its own sake. One that comes up within a tenth of a second after a look in vain may be found only then.
 */
export function findNamespace(url: string): string | undefined {
  const inode = Number(inodeUrl.exec(url)?.[2]);
  if (Number.isNaN(inode)) return undefined;
  const known = foundAt.get(url);
  if (known !== undefined && leadsTo(known, url)) return known;
  foundAt.delete(url);
  if (performance.now() - (missedAtMs.get(url) ?? Number.NEGATIVE_INFINITY) < missedForMs) {
    return undefined;
  }
  for (const path of candidates(inode)) {
    if (!leadsTo(path, url)) continue;
    remember(foundAt, url, path);
    return path;
  }
  remember(missedAtMs, url, performance.now());
  return undefined;
}

function remember<Value>(known: Map<string, Value>, url: string, value: Value): void {
  if (known.size >= rememberedMax) known.clear();
  known.set(url, value);
}

/**
 * A path for a program that has no other way to the file, such as a data plane in user space: of a `file://` URL, or of the
 * namespace of an `inode://` URL. Errors: NOT_FOUND, INVALID_ARGUMENT.
 */
export function filePathOf(url: string): string {
  if (inodeUrl.test(url)) {
    const path = findNamespace(url);
    if (path !== undefined) return path;
    throw notFound(url, 'no process is in it', 'check that the workload still runs');
  }
  if (!url.startsWith('file:///')) throw invalidUrl(url);
  try {
    return fileURLToPath(url);
  } catch {
    throw invalidUrl(url);
  }
}

function leadsTo(path: string, url: string): boolean {
  try {
    return namespaceInodeUrl(path) === url && !isNameOnly(path);
  } catch {
    // Its process has ended.
    return false;
  }
}

const pathOnly = 0o1000_0000;

/** Whether it is a descriptor opened with O_PATH. */
function isNameOnly(path: string): boolean {
  const parts = /^(\/proc\/\w+)\/fd\/(\d+)$/.exec(path);
  if (parts === null) return false;
  const info = readFileSync(`${parts[1]}/fdinfo/${parts[2]}`, 'utf8');
  return (Number.parseInt(/^flags:\s*(\d+)/m.exec(info)?.[1] ?? '0', 8) & pathOnly) !== 0;
}

function openByInode(url: string, device: number, inode: number): number {
  for (const path of candidates(inode)) {
    try {
      const status = statSync(path);
      if (status.dev !== device || status.ino !== inode) continue;
      return openPath(url, path);
    } catch {
      // The process that held it has gone; another may hold it too.
    }
  }
  throw notFound(
    url,
    'no process, descriptor or mount that is visible here holds it',
    'share the PID namespace of the host, or have it passed as a descriptor over a unix socket',
  );
}

/** Places that may show the namespace, cheapest first. */
function* candidates(inode: number): Generator<string> {
  const processes = namesIn('/proc').filter((name) => /^\d+$/.test(name));
  for (const pid of ['self', ...processes]) yield `/proc/${pid}/ns/net`;
  yield* namespaceMounts(inode);
  yield* descriptorsOf('self', inode);
  for (const pid of processes) {
    for (const thread of namesIn(`/proc/${pid}/task`)) {
      if (thread !== pid) yield `/proc/${pid}/task/${thread}/ns/net`;
    }
    yield* descriptorsOf(pid, inode);
  }
}

function* descriptorsOf(pid: string, inode: number): Generator<string> {
  const link = `net:[${inode}]`;
  for (const descriptor of namesIn(`/proc/${pid}/fd`)) {
    const path = `/proc/${pid}/fd/${descriptor}`;
    if (targetOf(path) === link) yield path;
  }
}

/** Bind mounts such as /run/netns/name: fields 4 and 5 of mountinfo are root and mount point. */
function* namespaceMounts(inode: number): Generator<string> {
  for (const line of readFileSync('/proc/self/mountinfo', 'utf8').split('\n')) {
    const [, , , root, mountPoint] = line.split(' ');
    if (root !== `net:[${inode}]` || mountPoint === undefined) continue;
    yield mountPoint.replace(/\\([0-7]{3})/g, (_, octal: string) =>
      String.fromCharCode(Number.parseInt(octal, 8)),
    );
  }
}

function namesIn(path: string): string[] {
  try {
    return readdirSync(path);
  } catch {
    return [];
  }
}

function targetOf(path: string): string {
  try {
    return readlinkSync(path);
  } catch {
    return '';
  }
}
