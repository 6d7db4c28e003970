// Where the demo can run: here, where this process may make network namespaces; inside a user namespace of its own,
// where an ordinary user may; or nowhere but in simulation, and then what is missing and how to get it.

import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { asNsmError } from '../../protocols/errors.ts';
import { createNetworkNamespace } from '../../transports/netlink/network-namespace.ts';
import { missingRights } from '../roles/up-rights.ts';

export type Ground =
  | { readonly kind: 'here' }
  /** The demo ran inside a user namespace; this is its exit code. */
  | { readonly kind: 'ended'; readonly code: number }
  | { readonly kind: 'none'; readonly missing: string; readonly remedy: string };

/** Keeps a run inside that still has no right from going one namespace deeper each time. */
const insideVariable = 'VWIRE_DEMO_INSIDE';
const unshareArguments = ['--user', '--map-root-user', '--net', '--mount', '--'] as const;
const probeTimeoutMs = 5_000;

export async function findGround(args: readonly string[]): Promise<Ground> {
  const whyNotHere = tryHere();
  if (whyNotHere === undefined) return { kind: 'here' };
  const whyNotInside =
    process.env[insideVariable] === undefined ? tryInside() : 'already inside a user namespace';
  if (whyNotInside === undefined) return { kind: 'ended', code: await runInside(args) };
  const rights = missingRights();
  return {
    kind: 'none',
    missing: [
      `no network namespace can be made here: ${whyNotHere}`,
      `user ${process.getuid?.()} lacks ${rights.join(' and ') || 'what a security profile denies'}`,
      `and gets no user namespace to have it in: ${whyNotInside}`,
    ].join('; '),
    remedy: remedyFor(readSetting),
  };
}

function tryHere(): string | undefined {
  try {
    createNetworkNamespace().close();
    return undefined;
  } catch (error) {
    return asNsmError(error).details.found ?? asNsmError(error).message;
  }
}

function tryInside(): string | undefined {
  const { status, error, stderr } = spawnSync('unshare', [...unshareArguments, 'true'], {
    encoding: 'utf8',
    timeout: probeTimeoutMs,
  });
  if (status === 0) return undefined;
  return error === undefined ? stderr.trim() || `unshare ended with ${status}` : error.message;
}

async function runInside(args: readonly string[]): Promise<number> {
  const [script = ''] = process.argv.slice(1);
  const command = [process.execPath, ...process.execArgv, script, ...args];
  const child = spawn('unshare', [...unshareArguments, ...command], {
    stdio: 'inherit',
    env: { ...process.env, [insideVariable]: '1' },
  });
  const forward = (signal: NodeJS.Signals): void => void child.kill(signal);
  const signals = ['SIGINT', 'SIGTERM'] as const;
  for (const signal of signals) process.on(signal, forward);
  try {
    const [code] = (await once(child, 'exit')) as [number | null];
    return code ?? 1;
  } finally {
    for (const signal of signals) process.off(signal, forward);
  }
}

function readSetting(path: string): string | undefined {
  try {
    return readFileSync(`/proc/sys/${path}`, 'utf8').trim();
  } catch {
    return undefined;
  }
}

/** The setting that forbids user namespaces, where one does; else what a container must be started with. */
export function remedyFor(setting: (path: string) => string | undefined): string {
  const asRoot = 'run the demo as root';
  if (setting('kernel/unprivileged_userns_clone') === '0') {
    return `${asRoot}, or allow user namespaces: sysctl -w kernel.unprivileged_userns_clone=1`;
  }
  if (setting('user/max_user_namespaces') === '0') {
    return `${asRoot}, or allow user namespaces: sysctl -w user.max_user_namespaces=10000`;
  }
  if (setting('kernel/apparmor_restrict_unprivileged_userns') === '1') {
    return `${asRoot}, or allow user namespaces: sysctl -w kernel.apparmor_restrict_unprivileged_userns=0`;
  }
  return `${asRoot}; in a container, start it with --cap-add SYS_ADMIN --cap-add NET_ADMIN --security-opt seccomp=unconfined --security-opt apparmor=unconfined`;
}
