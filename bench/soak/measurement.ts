// Memory, timers and descriptors of a process of the mesh, as the loaded `measure.mjs` tells them.

import { createConnection } from 'node:net';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { setTimeout as pause } from 'node:timers/promises';
import { pathToFileURL } from 'node:url';

export interface Measurement {
  /** After a forced collection, in bytes. */
  readonly heapUsed: number;
  /** Of that, what functions were compiled to. */
  readonly code: number;
  readonly rss: number;
  readonly timers: number;
  readonly descriptors: number;
}

const timeoutMs = 20_000;

/** For the environment of every process that is to be measured. The commands run in the repository. */
export function measured(): Readonly<Record<string, string>> {
  const program = pathToFileURL(join(process.cwd(), 'bench/soak/measure.mjs'));
  return { NODE_OPTIONS: `--import=${program.href}` };
}

export async function measure(stateDir: string, pid: number): Promise<Measurement> {
  const socket = createConnection(join(stateDir, `measure-${pid}.sock`));
  socket.setTimeout(timeoutMs, () => socket.destroy(new Error(`process ${pid} does not answer`)));
  return JSON.parse(await text(socket)) as Measurement;
}

const looks = 10;
const betweenMs = 400;

/** The least of several looks: what is only there while a refresh is under way has not grown. */
export async function measureAtRest(stateDir: string, pid: number): Promise<Measurement> {
  let least = await measure(stateDir, pid);
  for (let look = 1; look < looks; look += 1) {
    await pause(betweenMs);
    const now = await measure(stateDir, pid);
    least = {
      heapUsed: Math.min(least.heapUsed, now.heapUsed),
      code: Math.min(least.code, now.code),
      rss: Math.min(least.rss, now.rss),
      timers: Math.min(least.timers, now.timers),
      descriptors: Math.min(least.descriptors, now.descriptors),
    };
  }
  return least;
}
