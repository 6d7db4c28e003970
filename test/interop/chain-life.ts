// The life of a chain that both suites of chains put it through: it connects, refreshes, heals and leaves nothing. Whoever
// may crash, crashes once.

import { afterEach, describe, expect, test } from 'vitest';
import { eventually } from '../sandbox/eventually.ts';
import { whyNoNamespaces } from '../sandbox/namespaces.ts';
import { whyNoOvs } from '../sandbox/ovs.ts';
import { Chain, type ChainOptions } from './chain.ts';
import { ChainWatch } from './chain-watch.ts';
import { type Position, roleOf, whyNoGo } from './positions.ts';

export interface Combination extends ChainOptions {
  readonly title: string;
}

/** With its headers it just fits into a VXLAN tunnel over links of 1,500 bytes. */
const longPingBytes = 1_400;

/**
 * Never Go's forwarder: its next life finds the interfaces of the last one in its way ("failed to create VETH pair - file
 * exists"), among its own as well.
 */
const mayCrash = (position: Position, go: readonly Position[]): boolean =>
  roleOf(position) !== 'forwarder' || !go.includes(position);

/** Skipped, with the reason printed, where a binary is not named or the machine lacks something. */
export function describeChain({ title: what, ...options }: Combination): void {
  describe(`a chain with ${what}`, () => {
    let chain: Chain | undefined;
    let watch: ChainWatch | undefined;

    afterEach(async ({ task }) => {
      if (task.result?.state === 'fail') process.stderr.write(`${chain?.logs() ?? ''}\n`);
      await watch?.close();
      await chain?.close();
    }, 120_000);

    const needsOvs = options.onOvs !== undefined;
    const reason = whyNoNamespaces() ?? whyNoGo(options.go) ?? (needsOvs ? whyNoOvs() : undefined);
    if (reason !== undefined) console.warn(`skipped: a chain with ${what}: ${reason}`);
    test.skipIf(reason !== undefined)(
      'connects, refreshes, heals and leaves nothing',
      { timeout: 480_000 },
      async () => {
        chain = await Chain.create(options);
        watch = await ChainWatch.begin(chain);
        for (const position of chain.positions) await chain.start(position);
        await watch.pings('at first');
        let endsMs = await watch.refreshed('at first', 0);
        endsMs = await watch.refreshed('in its time', endsMs);
        await watch.pings('after a refresh');
        await watch.pings('with long packets', longPingBytes);
        for (const position of chain.positions) {
          if (!mayCrash(position, options.go)) continue;
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
        expect(chain.refusals()).toEqual([]);
      },
    );
  });
}
