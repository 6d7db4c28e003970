// Parts of a mesh in a process of their own, over NATS or gRPC, told what to do by the bench that forked them.

import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { connect } from '@nats-io/transport-node';
import { createPlatform, type Platform, type PlatformOptions } from '../../bin/roles/platform.ts';
import { silentLog } from '../../protocols/ports/log.ts';
import { countHandshakes } from './handshakes.ts';
import { benchPlatform, grpcSite, natsSite, type PartName, parts } from './mesh.ts';
import { realSizeTokens } from './tokens.ts';

export interface PartOrder {
  /** Absent: there is no bus. */
  readonly natsUrl?: string;
  /** On unix sockets of that folder, in place of the bus. */
  readonly grpc?: {
    readonly folder: string;
    readonly security: Pick<PlatformOptions, 'insecure' | 'workloadApi'>;
  };
  /** Parts by node, in the order in which they start; `echo` answers bare NATS requests. */
  readonly parts: readonly (readonly [part: PartName | 'echo', node: 'a' | 'b'])[];
  readonly hasTokens?: boolean;
}

/** What the bench may ask for once the parts serve. */
export type PartQuestion = 'memory' | 'cpu' | 'handshakes';

export const echoSubject = 'bench.echo';

setFlagsFromString('--expose-gc');
const collect = runInNewContext('gc') as () => void;

async function start(order: PartOrder): Promise<void> {
  const platform = await platformOf(order);
  const identified =
    order.hasTokens === true ? { ...platform, tokens: realSizeTokens() } : platform;
  for (const [part, node] of order.parts) {
    if (part === 'echo') await echo(order.natsUrl ?? '');
    else {
      await parts[part](identified, order.grpc ? grpcSite(order.grpc.folder) : natsSite(node));
    }
  }
}

function platformOf({ natsUrl, grpc }: PartOrder): Promise<Platform> {
  if (grpc === undefined) return benchPlatform('parts', natsUrl);
  return createPlatform({ name: 'parts', log: silentLog, natsUrl: undefined, ...grpc.security });
}

async function echo(url: string): Promise<void> {
  const connection = await connect({ servers: url, noAsyncTraces: true });
  connection.subscribe(echoSubject, {
    callback: (_, message) => void message.respond(message.data),
  });
  await connection.flush();
}

/** Bytes that this process holds, after its garbage has gone; or the microseconds of CPU that it has used. */
function answer(question: PartQuestion): number {
  if (question === 'handshakes') return countHandshakes();
  if (question === 'cpu') {
    const { user, system } = process.cpuUsage();
    return user + system;
  }
  collect();
  collect();
  const { heapUsed, external } = process.memoryUsage();
  return heapUsed + external;
}

process.once('message', (order: PartOrder) => {
  void start(order).then(
    () => {
      process.on('message', (question: PartQuestion) => process.send?.(answer(question)));
      process.send?.('ready');
    },
    (error: unknown) => {
      process.stderr.write(`${String(error)}\n`);
      process.exit(1);
    },
  );
});
process.once('disconnect', () => process.exit(0));
