// A private nats-server as a plain child, for a process that brings its own bus. It never outlives its parent: a
// small shell between the two waits for the end of its input, which the kernel brings about however the parent
// ends, and then kills the server.

import type { ChildProcess, SpawnOptions } from 'node:child_process';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir } from 'node:fs/promises';
import type { Readable } from 'node:stream';
import { NsmError } from '../../protocols/errors.ts';

export interface NatsServerOptions {
  /** Path or name of the nats-server binary. */
  readonly binary?: string;
  /** Default 127.0.0.1. */
  readonly address?: string;
  /** Default: a free port, chosen by the server. */
  readonly port?: number;
  /** Turns JetStream on, with its files below this folder. */
  readonly storeDir?: string;
  readonly readyTimeoutMs?: number;
  /** Further arguments, for example `-c`, a configuration file. */
  readonly arguments?: readonly string[];
  /** Starts the process, for example inside a network namespace. */
  readonly spawn?: (
    command: string,
    args: readonly string[],
    options: SpawnOptions,
  ) => ChildProcess;
}

export interface NatsServer {
  /** `nats://<address>:<port>`. */
  readonly url: string;
  readonly address: string;
  readonly port: number;
  readonly pid: number;
  /** Has it read its configuration and certificates again. Errors: UNAVAILABLE with what it says against them. */
  reload(timeoutMs?: number): Promise<void>;
  /** Resolves once the server has ended, whoever ended it. */
  readonly ended: Promise<void>;
  /** Asks the server to end, kills it after `graceMs`; resolves when it is gone. */
  stop(graceMs?: number): Promise<void>;
}

// Reports the server's id, then waits for both: for the server, and, beside it, for the end of the input.
const guardian = `
exec 4<&0
"$@" 3>&- 4<&- </dev/null &
server=$!
echo "$server" >&3
exec 3>&-
{ read -r _ <&4; kill -KILL "$server" 2>/dev/null; } >/dev/null 2>&1 &
watcher=$!
exec 4<&-
wait "$server"
code=$?
kill -KILL "$watcher" 2>/dev/null
exit "$code"
`;

/** Errors: UNAVAILABLE with the server's last lines where it does not get ready in time. */
export async function startNatsServer(options: NatsServerOptions = {}): Promise<NatsServer> {
  const { address = '127.0.0.1', port = -1, storeDir, readyTimeoutMs = 10_000 } = options;
  if (storeDir !== undefined) await mkdir(storeDir, { recursive: true });
  const command = [
    options.binary ?? 'nats-server',
    '-a',
    address,
    '-p',
    String(port),
    ...(storeDir === undefined ? [] : ['-js', '-sd', storeDir]),
    ...(options.arguments ?? []),
  ];
  const start = options.spawn ?? spawn;
  const child = start('/bin/sh', ['-c', guardian, 'nats-server-guardian', ...command], {
    stdio: ['pipe', 'ignore', 'pipe', 'pipe'],
    // Its own process group: Ctrl-C is for the parent, which still needs the bus to end in order.
    detached: true,
  });
  // A second end-of-input is of no interest.
  child.stdin?.on('error', () => {});
  const ended = childEnd(child);
  try {
    const pid = Number(
      await firstMatch(child, child.stdio[3] as Readable, /^(\d+)\n/, readyTimeoutMs),
    );
    const found = await readiness(child, readyTimeoutMs);
    child.stderr?.resume();
    let reloading: Promise<void> = Promise.resolve();
    return {
      url: `nats://${address}:${found}`,
      address,
      port: found,
      pid,
      ended,
      reload(timeoutMs = reloadTimeoutMs) {
        const reloaded = reloading.catch(() => {}).then(() => reload(child, pid, timeoutMs));
        reloading = reloaded;
        return reloaded;
      },
      stop: (graceMs = 2000) => stop(child, pid, ended, graceMs),
    };
  } catch (error) {
    child.stdin?.end();
    await ended;
    throw error;
  }
}

const reloadTimeoutMs = 10_000;

async function reload(child: ChildProcess, pid: number, timeoutMs: number): Promise<void> {
  // The next one reads them when it starts.
  if (child.exitCode !== null || child.signalCode !== null) return;
  const said = firstMatch(
    child,
    child.stderr as Readable,
    /(Reloaded server configuration|Failed to reload[^\n]*)\n/,
    timeoutMs,
  );
  process.kill(pid, 'SIGHUP');
  const answer = await said;
  if (answer.startsWith('Failed')) throw notReady('it keeps the configuration before', answer);
}

async function childEnd(child: ChildProcess): Promise<void> {
  if (child.pid === undefined) await once(child, 'error').catch(() => {});
  else await once(child, 'close').catch(() => {});
}

async function readiness(child: ChildProcess, timeoutMs: number): Promise<number> {
  const ready = /Listening for client connections on \S*:(\d+)\n[^]*Server is ready\n/;
  return Number(await firstMatch(child, child.stderr as Readable, ready, timeoutMs));
}

/** Reads the stream until the pattern matches; the text read is bounded by the start of a server being short. */
function firstMatch(
  child: ChildProcess,
  stream: Readable,
  pattern: RegExp,
  timeoutMs: number,
): Promise<string> {
  return new Promise((resolve, reject) => {
    let text = '';
    const settle = (result: string | Error): void => {
      clearTimeout(timer);
      stream.off('data', onData);
      child.off('exit', onExit);
      child.off('error', settle);
      if (typeof result === 'string') resolve(result);
      else reject(notReady(result.message, text));
    };
    const onData = (chunk: Buffer): void => {
      text = (text + chunk.toString('utf8')).slice(-64 * 1024);
      const match = pattern.exec(text);
      if (match !== null) settle(match[1] as string);
    };
    // The output is read to its end before a reason is given.
    const onExit = (code: number | null): void => {
      setImmediate(() => settle(new Error(`it ended with code ${code}`)));
    };
    const timer = setTimeout(
      () => settle(new Error(`it was not ready within ${timeoutMs} ms`)),
      timeoutMs,
    );
    stream.on('data', onData);
    stream.resume();
    child.on('exit', onExit);
    child.on('error', settle);
  });
}

async function stop(
  child: ChildProcess,
  pid: number,
  ended: Promise<void>,
  graceMs: number,
): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return await ended;
  try {
    process.kill(pid, 'SIGTERM');
  } catch {
    // It is gone already; the guardian is about to notice.
  }
  const timer = setTimeout(() => child.stdin?.end(), graceMs);
  await ended;
  clearTimeout(timer);
}

function notReady(why: string, output: string): NsmError {
  const lines = output.trim().split('\n').slice(-5).join(' | ');
  return new NsmError('UNAVAILABLE', 'nats-server did not start', {
    rule: 'nats-server',
    expected: 'a server that is ready',
    found: lines === '' ? why : `${why}: ${lines}`,
    remedy: 'look whether nats-server is installed and the port is free',
  });
}
