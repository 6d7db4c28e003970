// A file that may change, come and go while the process runs: a Kubernetes ConfigMap (a symbolic link that is switched),
// a file written anew beside the old one, or one edited in place. It is looked at twice a second, which notices all
// of these alike. Invariants: the first look is done when `watchFile` returns; every content is told once.

import { closeSync, fstatSync, openSync, readFileSync, type Stats, statSync } from 'node:fs';

/** `text` undefined: there is no such file. `error`: it is there and cannot be read. */
export type FileNews = { readonly text: string | undefined } | { readonly error: Error };
export type BytesNews = { readonly bytes: Buffer | undefined } | { readonly error: Error };

export interface WatchedFile {
  stop(): void;
}

export interface WatchOptions {
  /** Longer files are not read. */
  readonly lengthMaxBytes: number;
  readonly intervalMs?: number;
}

const intervalMsByDefault = 500;

/** As `watchBytes`, of a file in UTF-8. */
export function watchFile(
  path: string,
  options: WatchOptions,
  listener: (news: FileNews) => void,
): WatchedFile {
  return watchBytes(path, options, (news) =>
    listener('error' in news ? news : { text: news.bytes?.toString('utf8') }),
  );
}

/** The listener is called at once, then with every change. It must not throw. */
export function watchBytes(
  path: string,
  options: WatchOptions,
  listener: (news: BytesNews) => void,
): WatchedFile {
  let seen: string | undefined;
  let told: BytesNews | undefined;
  const look = (): void => {
    const signature = signatureOf(path);
    if (signature === seen) return;
    seen = signature;
    const news = readNews(path, options.lengthMaxBytes);
    if (told !== undefined && isSame(told, news)) return;
    told = news;
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

function isSame(told: BytesNews, news: BytesNews): boolean {
  if ('error' in told || 'error' in news) {
    return 'error' in told && 'error' in news && told.error.message === news.error.message;
  }
  if (told.bytes === undefined || news.bytes === undefined) return told.bytes === news.bytes;
  return told.bytes.equals(news.bytes);
}

function readNews(path: string, lengthMaxBytes: number): BytesNews {
  let descriptor: number | undefined;
  try {
    descriptor = openSync(path, 'r');
    const stats = fstatSync(descriptor);
    if (!stats.isFile()) return { error: new Error('it is no regular file') };
    if (stats.size > lengthMaxBytes) {
      return { error: new Error(`it has ${stats.size} bytes, at most ${lengthMaxBytes} are read`) };
    }
    return { bytes: readFileSync(descriptor) };
  } catch (thrown) {
    const error = thrown as NodeJS.ErrnoException;
    return error.code === 'ENOENT' || error.code === 'ENOTDIR' ? { bytes: undefined } : { error };
  } finally {
    if (descriptor !== undefined) closeSync(descriptor);
  }
}
