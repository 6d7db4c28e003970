// The demo's own check that nothing of it is left: no process, no namespace, no link, no file, no descriptor.
// Taken before anything is made and compared afterwards; what is there now and was not there then is named.

import { existsSync, readdirSync, readlinkSync } from 'node:fs';
import type { Netlink } from '../../protocols/ports/netlink.ts';
import { linksOf } from './namespace-links.ts';

export interface Census {
  readonly links: readonly string[];
}

export async function takeCensus(netlink: Netlink): Promise<Census> {
  const links = await linksOf(netlink, undefined);
  return { links: links.map(({ name }) => name) };
}

export interface LeftoverCheck {
  readonly before: Census;
  readonly netlink: Netlink;
  readonly pids: readonly number[];
  /** `net:[<inode>]` of each namespace that the demo made. */
  readonly namespaces: readonly string[];
  readonly paths: readonly string[];
}

export async function findLeftovers(check: LeftoverCheck): Promise<readonly string[]> {
  const after = await takeCensus(check.netlink);
  return [
    ...check.pids.filter(isAlive).map((pid) => `process ${pid}`),
    ...after.links
      .filter((name) => !check.before.links.includes(name))
      .map((name) => `link ${name}`),
    ...check.paths.filter((path) => existsSync(path)).map((path) => `path ${path}`),
    ...heldNamespaces(check.namespaces),
  ];
}

export function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}

/** Namespaces that a process still is in or holds open. */
function heldNamespaces(namespaces: readonly string[]): readonly string[] {
  const held: string[] = [];
  for (const pid of readdirSync('/proc').filter((name) => /^\d+$/.test(name))) {
    const places = [`/proc/${pid}/ns/net`, ...descriptorsOf(pid)];
    for (const place of places) {
      const target = readLink(place);
      if (target !== undefined && namespaces.includes(target)) {
        held.push(`namespace ${target}, held by ${place}`);
      }
    }
  }
  return held;
}

function descriptorsOf(pid: string): readonly string[] {
  try {
    return readdirSync(`/proc/${pid}/fd`).map((fd) => `/proc/${pid}/fd/${fd}`);
  } catch {
    return [];
  }
}

function readLink(path: string): string | undefined {
  try {
    return readlinkSync(path);
  } catch {
    return undefined;
  }
}
