// A file that may change, come and go while the process runs: a Kubernetes ConfigMap (a symbolic link that is switched),
// a file written anew beside the old one, or one edited in place. It is looked at twice a second, which notices all
// of these alike. Invariants: the first look is done when `watchFile` returns; every content is told once.

import { closeSync, fstatSync, openSync, readFileSync, type Stats, statSync } from 'node:fs';

/** `text` undefined: there is no such file. `error`: it is there and cannot be read. */
export type FileNews = { readonly text: string | undefined } | { readonly error: Error };

export interface WatchedFile {
  stop(): void;
}

export interface WatchOptions {
  /** Longer files are not read. */
  readonly lengthMaxBytes: number;
  readonly intervalMs?: number;
}

const intervalMsByDefault = 500;

/** The listener is called at once, then with every change. It must not throw. */
export function watchFile(
  path: string,
  options: WatchOptions,
  listener: (news: FileNews) => void,
): WatchedFile {
  let seen: string | undefined;
  let told: string | undefined;
  const look = (): void => {
    const signature = signatureOf(path);
    if (signature === seen) return;
    seen = signature;
    const news = readNews(path, options.lengthMaxBytes);
    const content = JSON.stringify('error' in news ? { error: news.error.message } : news);
    if (content === told) return;
    told = content;
    listener(news);
  };
  look();
  const timer = setInterval(look, options.intervalMs ?? intervalMsByDefault);
  timer.unref();
  return { stop: () => clearInterval(timer) };
}

/** Differs whenever the content may; what cannot be looked at differs by the reason. */
function signatureOf(path: string): string {
  try {
    return stamp(statSync(path));
  } catch (thrown) {
    return String((thrown as NodeJS.ErrnoException).code);
  }
}

const stamp = ({ dev, ino, size, mtimeMs, ctimeMs }: Stats): string =>
  [dev, ino, size, mtimeMs, ctimeMs].join(' ');

function readNews(path: string, lengthMaxBytes: number): FileNews {
  let descriptor: number | undefined;
  try {
    descriptor = openSync(path, 'r');
    const stats = fstatSync(descriptor);
    if (!stats.isFile()) return { error: new Error('it is no regular file') };
    if (stats.size > lengthMaxBytes) {
      return { error: new Error(`it has ${stats.size} bytes, at most ${lengthMaxBytes} are read`) };
    }
    return { text: readFileSync(descriptor, 'utf8') };
  } catch (thrown) {
    const error = thrown as NodeJS.ErrnoException;
    return error.code === 'ENOENT' || error.code === 'ENOTDIR' ? { text: undefined } : { error };
  } finally {
    if (descriptor !== undefined) closeSync(descriptor);
  }
}
