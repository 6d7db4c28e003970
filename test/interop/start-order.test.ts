// Protects that the parts of a mesh may be started in any order, each with the reference's variables alone: whoever
// finds somebody missing waits for it, and serves as soon as it is there. And that each says by the standard health
// service that it serves.

import { afterEach, describe, expect, test } from 'vitest';
import { eventually } from '../sandbox/eventually.ts';
import { whyNoNamespaces } from '../sandbox/namespaces.ts';
import { Chain } from './chain.ts';
import { ChainWatch } from './chain-watch.ts';
import { positions } from './positions.ts';

const reason = whyNoNamespaces();

describe.skipIf(reason !== undefined)(`a chain of separate processes ${reason ?? ''}`, () => {
  let chain: Chain | undefined;
  let watch: ChainWatch | undefined;

  afterEach(async ({ task }) => {
    if (task.result?.state === 'fail') process.stderr.write(`${chain?.logs() ?? ''}\n`);
    await watch?.close();
    await chain?.close();
  }, 60_000);

  test.each([...positions, 'nobody'] as const)(
    'comes up with %s started last, and the others from the client on',
    { timeout: 240_000 },
    async (last) => {
      chain = await Chain.create({ go: [], onBus: new Set() });
      watch = await ChainWatch.begin(chain);
      const others = positions.filter((each) => each !== last).toReversed();
      for (const position of others) {
        await chain.start(position);
        await chain.isUp(position);
      }
      if (last !== 'nobody') await chain.start(last);
      await watch.pings('once all are there');
      await watch.areHealthy(chain.ownSockets());
      await chain.stop('nsc');
      const ended = chain;
      await eventually('nothing is left of the wire', 15_000, async () => {
        expect(await ended.traces()).toEqual([]);
      });
    },
  );
});
