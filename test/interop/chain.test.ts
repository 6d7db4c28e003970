// Protects the promise that any position of a chain may be the reference's: with its Go binary there and ours
// elsewhere, and with ours there in a chain of Go, a client gets a wire that carries packets, refreshes it, gets it
// back when a neighbour or itself has crashed and started again, closes it, and nothing is left. Which hops are gRPC and
// which go over NATS makes no difference. Skipped, with the reason in the title, where a binary is not named or
// namespaces cannot be made.

import { afterEach, describe, expect, test } from 'vitest';
import { eventually } from '../sandbox/eventually.ts';
import { whyNoNamespaces } from '../sandbox/namespaces.ts';
import { Chain } from './chain.ts';
import type { OnBus } from './chain-settings.ts';
import { ChainWatch } from './chain-watch.ts';
import { positions, type Position, whyNoGo } from './positions.ts';

interface Combination {
  readonly title: string;
  readonly go: readonly Position[];
  /** Whom NATS leads to; by default nobody. */
  readonly onBus?: OnBus;
}

/**
 * Who crashes, and has to be taken back. Never Go's forwarder: its next life finds the interfaces of the last one in its
 * way ("failed to create VETH pair - file exists"), among its own as well.
 */
const crashing = (go: readonly Position[]): readonly Position[] =>
  (['registry', 'nsmgr', 'forwarder', 'nse', 'nsc'] as const).filter(
    (each) => each !== 'forwarder' || !go.includes('forwarder'),
  );

const othersThan = (position: Position): readonly Position[] =>
  positions.filter((each) => each !== position);

const combinations: readonly Combination[] = [
  { title: 'ours everywhere', go: [] },
  ...positions.map((each) => ({ title: `Go at ${each}`, go: [each] })),
  ...positions.map((each) => ({ title: `ours at ${each}, else Go`, go: othersThan(each) })),
  { title: 'Go everywhere', go: positions },
  {
    title: 'ours, registry and forwarder over NATS',
    go: [],
    onBus: new Set(['registry', 'forwarder']),
  },
  {
    title: 'Go at nse and nsc, ours over NATS',
    go: ['nse', 'nsc'],
    onBus: new Set(['registry', 'forwarder']),
  },
];

describe.each(combinations)('a chain with $title', ({ title: what, go, onBus = new Set() }) => {
  let chain: Chain | undefined;
  let watch: ChainWatch | undefined;

  afterEach(async ({ task }) => {
    if (task.result?.state === 'fail') process.stderr.write(`${chain?.logs() ?? ''}\n`);
    await watch?.close();
    await chain?.close();
  }, 120_000);

  const reason = whyNoNamespaces() ?? whyNoGo(go);
  if (reason !== undefined) console.warn(`skipped: a chain with ${what}: ${reason}`);
  test.skipIf(reason !== undefined)(
    'connects, refreshes, heals and leaves nothing',
    { timeout: 480_000 },
    async () => {
      chain = await Chain.create({ go, onBus });
      watch = await ChainWatch.begin(chain);
      for (const position of positions) await chain.start(position);
      await watch.pings('at first');
      let endsMs = await watch.refreshed('at first', 0);
      endsMs = await watch.refreshed('in its time', endsMs);
      await watch.pings('after a refresh');
      for (const position of crashing(go)) {
        await chain.kill(position);
        await chain.start(position);
        await watch.pings(`after a crash of the ${position}`);
        endsMs = await watch.refreshed(`after a crash of the ${position}`, endsMs);
      }
      await chain.stop('nsc');
      const ended = chain;
      await eventually('nothing is left of the wire', 15_000, async () => {
        expect(await ended.traces()).toEqual([]);
      });
      await watch.forgets();
      await chain.stop('nse');
      await watch.findsNoEndpoint();
    },
  );
});
