// The promises of the EndpointSupplier port, run on every implementation of it: one Endpoint per name, told when it
// ends, nothing left after its removal, and everything found again by the next life.

import { create } from '@bufbuild/protobuf';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type Connection, ConnectionSchema } from '../../protocols/nsm/gen/connection_pb.ts';
import type { EndedEndpoint, EndpointSupplier } from '../../protocols/ports/endpoint-supplier.ts';
import { eventually } from '../sandbox/eventually.ts';

export interface SupplierUnderTest {
  readonly supplier: EndpointSupplier;
  /** Ends the Endpoint from outside, as a crash would. */
  readonly kill: (name: string) => Promise<void>;
  /** What of this name is there, for people; empty when nothing is. */
  readonly traces: (name: string) => readonly string[];
  /** The next life over what this one has written down. */
  readonly restart: () => Promise<SupplierUnderTest>;
}

const limitMs = 20_000;
const budget = { timeoutMs: 10_000 };

export const connectionFor = (networkService: string): Connection =>
  create(ConnectionSchema, { id: 'client-0', networkService });

export function endpointSupplierContract(
  title: string,
  make: () => Promise<SupplierUnderTest>,
  skipped?: string,
): void {
  const shown = skipped === undefined ? title : `${title} (${skipped})`;
  describe.skipIf(skipped !== undefined)(`EndpointSupplier: ${shown}`, () => {
    let under: SupplierUnderTest;
    let ended: EndedEndpoint[];
    const namesOf = () => under.supplier.running().map(({ name }) => name);
    const endedNames = () => ended.map(({ name }) => name);
    const watch = () => under.supplier.watch((each) => void ended.push(each));

    beforeEach(async () => {
      ended = [];
      under = await make();
      watch();
    });

    afterEach(async () => {
      for (const name of ['nse-a', 'nse-b']) {
        await under.supplier.remove(name, budget);
        expect(under.traces(name), `left of ${name}`).toEqual([]);
      }
      await under.supplier.close();
    });

    it('starts one per name, and takes it away without a trace', async () => {
      const { supplier } = under;
      expect(supplier.nameFor(connectionFor('a'))).toBe('nse-a');
      const started = await supplier.start(connectionFor('a'), budget);
      expect(await supplier.start(connectionFor('a'), budget)).toEqual(started);
      await supplier.start(connectionFor('b'), budget);
      expect(namesOf().toSorted()).toEqual(['nse-a', 'nse-b']);
      expect(under.traces('nse-a')).not.toEqual([]);
      await supplier.remove('nse-a', budget);
      expect(under.traces('nse-a')).toEqual([]);
      expect(namesOf()).toEqual(['nse-b']);
      expect(ended).toEqual([]);
      await supplier.remove('nse-a', budget);
    });

    it('tells of one that ends by itself, until it is removed', async () => {
      await under.supplier.start(connectionFor('a'), budget);
      await under.kill('nse-a');
      await eventually('it is told', limitMs, () => expect(endedNames()).toEqual(['nse-a']));
      expect(namesOf()).toEqual([]);
      expect(ended[0]?.isClean).toBe(false);
      ended = [];
      watch();
      expect(endedNames()).toEqual(['nse-a']);
      await under.supplier.remove('nse-a', budget);
      ended = [];
      watch();
      expect(ended).toEqual([]);
      await under.supplier.start(connectionFor('a'), budget);
      expect(namesOf()).toEqual(['nse-a']);
    });

    it('the next life goes on with what runs, and tells of what ended meanwhile', async () => {
      const { supplier } = under;
      const a = await supplier.start(connectionFor('a'), budget);
      await supplier.start(connectionFor('b'), budget);
      await supplier.close();
      await under.kill('nse-b');
      under = await under.restart();
      watch();
      expect(under.supplier.running()).toEqual([a]);
      expect(await under.supplier.start(connectionFor('a'), budget)).toEqual(a);
      await eventually('the other is told', limitMs, () => expect(endedNames()).toEqual(['nse-b']));
    });

    it('tells of one of an earlier life that ends', async () => {
      await under.supplier.start(connectionFor('a'), budget);
      await under.supplier.close();
      under = await under.restart();
      watch();
      await under.kill('nse-a');
      await eventually('it is told', limitMs, () => expect(endedNames()).toEqual(['nse-a']));
    });
  });
}
