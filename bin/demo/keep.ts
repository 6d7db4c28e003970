// Leaving the demo up until the user has seen enough.

import { join } from 'node:path';
import type { Topology } from './topology.ts';

export async function keepUntilSignal(stateDir: string, topology: Topology): Promise<void> {
  const [node] = topology.nodes;
  const nodeDir = join(stateDir, node.name);
  process.stderr.write(
    [
      '',
      'The mesh stays up until Ctrl-C. Look around from another terminal:',
      `  npx vwire status --state-dir ${nodeDir}`,
      `  npx vwire get connections --state-dir ${nodeDir}`,
      `  npx vwire get endpoints --state-dir ${nodeDir}`,
      ...topology.pairs.map(
        ({ client }) =>
          `  nsenter --net=${client.namespace.path} ip address   # inside ${client.name}`,
      ),
      '',
    ].join('\n'),
  );
  await new Promise<void>((resolve) => {
    for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => resolve());
  });
}
