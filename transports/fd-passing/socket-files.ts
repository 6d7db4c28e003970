// Sockets of Endpoints as files: named by a path to those who have it, and by device and inode, with a descriptor, to
// those who may not.

import { closeSync, fstatSync, readlinkSync } from 'node:fs';
import type { Descriptor } from '../../protocols/ports/descriptors.ts';
import { inodeUrlOf, openPath } from './socket-descriptors.ts';

export interface SocketFile {
  /** The caller's, to close. */
  readonly descriptor: Descriptor;
  /** `inode://<dev>/<ino>` */
  readonly inodeUrl: string;
}

const unixUrl = /^unix:(?:\/\/)?(\/[^\0]+)$/;

/** Undefined where the URL names no socket that is there. */
export function openSocketOf(url: string): SocketFile | undefined {
  const path = unixUrl.exec(url)?.[1];
  if (path === undefined) return undefined;
  let descriptor: Descriptor;
  try {
    descriptor = openPath(path);
  } catch {
    return undefined;
  }
  if (fstatSync(descriptor).isSocket()) return { descriptor, inodeUrl: inodeUrlOf(descriptor) };
  closeSync(descriptor);
  return undefined;
}

/** Of sun_path, without its end. */
const socketPathBytesMax = 107;

/**
 * Where the socket of an open descriptor lies, where this process sees that path too: unlike the descriptor's own it
 * stays the same when whoever holds it, or the Endpoint, is started again.
 */
export function visiblePathOf(descriptorPath: string, inodeUrl: string): string | undefined {
  try {
    const path = readlinkSync(descriptorPath);
    if (Buffer.byteLength(path) > socketPathBytesMax) return undefined;
    const found = openSocketOf(`unix://${path}`);
    if (found === undefined) return undefined;
    closeSync(found.descriptor);
    return found.inodeUrl === inodeUrl ? path : undefined;
  } catch {
    return undefined;
  }
}
