// The demo's own check that nothing of it is left: no process, no namespace, no link, no file, no descriptor.
// Taken before anything is made and compared afterwards; what is there now and was not there then is named. Invariant:
// others are only asked after a namespace while this process still holds it, since the kernel gives the number of one that
// is gone to the next one that anybody makes.

import { existsSync, readdirSync, readlinkSync } from 'node:fs';
import type { Netlink } from '../../protocols/ports/netlink.ts';
import type { NetworkNamespace } from '../../transports/netlink/network-namespace.ts';
import type { StartedProcesses } from '../../transports/process/process-identity.ts';
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
  readonly started: readonly StartedProcesses[];
  /** All that were made here; closed on the way. */
  readonly namespaces: readonly NetworkNamespace[];
  readonly paths: readonly string[];
}

export async function findLeftovers(check: LeftoverCheck): Promise<readonly string[]> {
  const held = heldByOthers(check.namespaces);
  for (const namespace of check.namespaces) namespace.close();
  const after = await takeCensus(check.netlink);
  return [
    ...check.started.flatMap((each) => each.alive()).map((pid) => `process ${pid}`),
    ...after.links
      .filter((name) => !check.before.links.includes(name))
      .map((name) => `link ${name}`),
    ...check.paths.filter((path) => existsSync(path)).map((path) => `path ${path}`),
    ...held,
    ...heldHere(check.namespaces),
  ];
}

/** Those still open here that another process is in, or holds as well. */
function heldByOthers(namespaces: readonly NetworkNamespace[]): readonly string[] {
  const open = namespaces.filter(({ descriptor, inodeUrl }) => {
    return readLink(`/proc/self/fd/${descriptor}`) === nameOf(inodeUrl);
  });
  const others = readdirSync('/proc').filter(
    (name) => /^\d+$/.test(name) && name !== String(process.pid),
  );
  return others.flatMap((pid) => heldBy(pid, open));
}

function heldHere(namespaces: readonly NetworkNamespace[]): readonly string[] {
  return heldBy(String(process.pid), namespaces);
}

function heldBy(pid: string, namespaces: readonly NetworkNamespace[]): readonly string[] {
  const names = new Set(namespaces.map(({ inodeUrl }) => nameOf(inodeUrl)));
  return [`/proc/${pid}/ns/net`, ...descriptorsOf(pid)].flatMap((place) => {
    const target = readLink(place);
    const isHeld = target !== undefined && names.has(target);
    return isHeld ? [`namespace ${target}, held by ${place}`] : [];
  });
}

/** As the kernel's links name it. */
function nameOf(inodeUrl: string): string {
  return `net:[${inodeUrl.split('/').at(-1)}]`;
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
