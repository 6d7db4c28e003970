// Starts parts of a mesh as processes of their own, as a rule beside a nats-server of their own, and ends them all.

import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { startNatsServer } from '../../transports/nats/nats-server.ts';
import type { PartOrder, PartQuestion } from './part-process.ts';

export interface PartProcess {
  ask(question: PartQuestion): Promise<number>;
}

export interface PartProcesses {
  /** Empty where there is no bus. */
  readonly natsUrl: string;
  start(order: Omit<PartOrder, 'natsUrl'>): Promise<PartProcess>;
  stop(): Promise<void>;
}

export async function startParts({ hasBus = true } = {}): Promise<PartProcesses> {
  const server = hasBus ? await startNatsServer() : undefined;
  const children: ChildProcess[] = [];
  return {
    natsUrl: server?.url ?? '',
    async start(order) {
      const entry = fileURLToPath(new URL('./part-process.js', import.meta.url));
      // Forked children inherit the flags of this process, the profiler's among them.
      const child = fork(entry);
      children.push(child);
      child.send({ ...order, ...(server && { natsUrl: server.url }) } satisfies PartOrder);
      await heard(child);
      return {
        async ask(question) {
          child.send(question);
          return (await heard(child)) as number;
        },
      };
    },
    async stop() {
      const ends = children.map((child) => once(child, 'exit'));
      for (const child of children) child.disconnect();
      await Promise.all(ends);
      await server?.stop();
    },
  };
}

async function heard(child: ChildProcess): Promise<unknown> {
  const ended = once(child, 'exit').then(() => {
    throw new Error('a part of the mesh ended');
  });
  const [message] = (await Promise.race([once(child, 'message'), ended])) as [unknown];
  ended.catch(() => {});
  return message;
}
