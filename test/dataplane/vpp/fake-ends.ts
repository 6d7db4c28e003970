// Ends of wires without a kernel: each gets a link with a number, and joining is asked for as the kernel's driver asks.

import type { NodeLink, NodeLinks, WireEnds } from '../../../protocols/ports/wire-ends.ts';
import type { Wire } from '../../../protocols/ports/dataplane.ts';

export interface FakeEnds extends WireEnds {
  /** As where somebody deleted it: the next `ensure` makes another. */
  loseLink(wireId: string, side: 'client' | 'endpoint'): void;
  /** The kernel's part of `ensure` fails after the joining. */
  failAfterJoining(): void;
}

const sides = ['client', 'endpoint'] as const;

export function createFakeEnds(): FakeEnds {
  const links = new Map<string, NodeLinks>();
  let nextIndex = 10;
  let fails = false;
  const linkOf = (wire: Wire, side: 'client' | 'endpoint'): NodeLink | undefined => {
    const end = wire[side];
    if (end.kind !== 'kernel') return undefined;
    const known = links.get(wire.id)?.[side];
    // Another namespace needs another link, which stands beside the old one until it is joined.
    const name = `vw-${wire.id}-${side[0]}-${end.netns}`;
    if (known?.name === name && known.mtu >= wire.mtu) return known;
    return { name, index: nextIndex++, mtu: wire.mtu === 0 ? 1500 : wire.mtu };
  };
  return {
    probe: async () => ({ mechanisms: ['KERNEL'], missing: [] }),
    async ensure(wire, _, joining) {
      const found = sides.flatMap((side) => {
        const link = linkOf(wire, side);
        return link === undefined ? [] : [[side, link] as const];
      });
      const joined = await joining.join(Object.fromEntries(found));
      if (fails) {
        fails = false;
        await joined.undo();
        throw new Error('the kernel failed, as planned');
      }
      links.set(wire.id, Object.fromEntries(found));
      await joined.settle();
    },
    async remove(ids, _, { leave }) {
      await leave();
      for (const id of ids) links.delete(id);
    },
    list: async () =>
      [...links].map(([id, own]) => ({
        id,
        version: 1,
        complete: true,
        missing: [],
        readable: true,
        objects: Object.values(own).map(({ name }) => name),
        links: own,
      })),
    inspect: async (id) => ({ missing: [], links: links.get(id) ?? {} }),
    statistics: async () => new Map(),
    watch: () => () => {},
    close: async () => {},
    loseLink(wireId, side) {
      const { [side]: _, ...rest } = links.get(wireId) ?? {};
      links.set(wireId, rest);
    },
    failAfterJoining() {
      fails = true;
    },
  };
}
