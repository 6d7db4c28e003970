// What every registry store promises, as one suite: revisions as fences, changes in order, load after load.
// The suites that run it: registry-store-memory.test.ts and registry-store-nats.test.ts.

import { afterEach, describe, expect, it } from 'vitest';
import type { RegistryStore, StoreChange } from '../../protocols/ports/registry-store.ts';

/** Opens another store over the same bucket; `label` names a bucket of its own per test. */
export type OpenStore = (label: string) => Promise<RegistryStore>;

const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);
const text = (value: Uint8Array): string => new TextDecoder().decode(value);

export function registryStoreContract(name: string, open: OpenStore): void {
  describe(`registry store: ${name}`, () => {
    const opened: RegistryStore[] = [];
    let label = 0;

    async function openTwo(): Promise<[RegistryStore, RegistryStore]> {
      label += 1;
      const pair: [RegistryStore, RegistryStore] = [
        await open(`bucket${label}`),
        await open(`bucket${label}`),
      ];
      opened.push(...pair);
      return pair;
    }

    afterEach(async () => {
      await Promise.all(opened.splice(0).map((store) => store.close()));
    });

    it('loads what was put, by anybody, under any name', async () => {
      const [one, two] = await openTwo();
      const keys = [
        'nse/plain',
        'nse/a.b*c>d e',
        'ns/svc@dom.example',
        'nse/äöü-ß',
        'nse/UPPER=lower_',
      ];
      for (const key of keys) await one.put(key, bytes(`value of ${key}`));
      const loaded = await two.load();
      expect(loaded.map(({ key }) => key).toSorted()).toEqual(keys.toSorted());
      for (const entry of loaded) expect(text(entry.value)).toBe(`value of ${entry.key}`);
    });

    it('raises the revision with every change and refuses a stale one', async () => {
      const [one, two] = await openTwo();
      const first = await one.put('k', bytes('1'), 0);
      const second = await two.put('k', bytes('2'), first);
      expect(second).toBeGreaterThan(first);
      await expect(one.put('k', bytes('late'), first)).rejects.toMatchObject({ code: 'ABORTED' });
      await expect(one.put('k', bytes('new'), 0)).rejects.toMatchObject({ code: 'ABORTED' });
      await expect(one.delete('k', first)).rejects.toMatchObject({ code: 'ABORTED' });
      const third = await one.put('k', bytes('3'));
      expect(third).toBeGreaterThan(second);
      await one.delete('k', third);
      expect(await two.load()).toEqual([]);
      expect(await two.put('k', bytes('again'), 0)).toBeGreaterThan(third);
    });

    it('tells every watcher every change in revision order, its own included', async () => {
      const [one, two] = await openTwo();
      const seen: [StoreChange[], StoreChange[]] = [[], []];
      await one.put('before', bytes('x'));
      const unwatch = await one.watch((change) => seen[0].push(change));
      await two.watch((change) => seen[1].push(change));
      const first = await one.put('k', bytes('1'));
      await two.put('k', bytes('2'), first);
      await one.delete('k');
      await two.put('last', bytes('x'));
      const isLast = (change: StoreChange): boolean =>
        change.kind === 'put' && change.entry.key === 'last';
      await expect.poll(() => seen.every((changes) => changes.some(isLast))).toBe(true);
      for (const changes of seen) {
        const ours = changes.flatMap((change) => {
          if (change.kind === 'reset') return [];
          const key = change.kind === 'put' ? change.entry.key : change.key;
          return key === 'k' ? [change.kind] : [];
        });
        expect(ours).toEqual(['put', 'put', 'deleted']);
        const revisions = changes.flatMap((change) => {
          if (change.kind === 'reset') return [];
          return change.kind === 'put' ? [change.entry.revision] : [change.revision];
        });
        expect(revisions).toEqual(revisions.toSorted((a, b) => a - b));
      }
      unwatch();
      const count = seen[0].length;
      await two.put('k', bytes('unseen'));
      await expect.poll(() => seen[1].at(-1)).toMatchObject({ entry: { key: 'k' } });
      expect(seen[0]).toHaveLength(count);
    });

    it('forgets without complaint what is not there', async () => {
      const [one] = await openTwo();
      await one.delete('never');
      expect(await one.load()).toEqual([]);
    });
  });
}
