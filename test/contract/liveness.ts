// What every liveness check of wires promises, whatever it sends its echoes through. The suite runs over a simulated
// wire under a clock by hand, and over real namespaces.

import { create } from '@bufbuild/protobuf';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type Connection, ConnectionSchema } from '../../protocols/nsm/gen/connection_pb.ts';
import { kernelMechanism } from '../../protocols/nsm/kernel-mechanism.ts';
import type { Liveness, LivenessWatch, Verdict } from '../../protocols/ports/liveness.ts';

export const clientAddresses = ['10.255.1.1', 'fd00:255::1'] as const;
export const endpointAddresses = ['10.255.1.2', 'fd00:255::2'] as const;
export const interfaceName = 'wire';

export interface LivenessWorld {
  readonly liveness: Liveness;
  /** The other end vanishes, or is there again. */
  readonly setEndpoint: (isThere: boolean) => Promise<void>;
  /** The workload sets its own interface down, or up. */
  readonly setInterface: (isUp: boolean) => Promise<void>;
  /** Waits, in whichever time the world has, until `isSo`; false where that takes too long. */
  readonly until: (isSo: () => boolean) => Promise<boolean>;
  /** Lets time go on in which a mistake would show. */
  readonly linger: () => Promise<void>;
  /** Waits for what needs the world's time. */
  readonly run: <T>(work: Promise<T>) => Promise<T>;
  readonly close: () => Promise<void>;
}

export function connectionOver(change: Partial<Connection> = {}): Connection {
  return {
    ...create(ConnectionSchema, {
      id: 'c',
      mechanism: kernelMechanism({ netnsUrl: 'inode://4/1', interfaceName }),
      context: {
        ipContext: {
          srcIpAddrs: clientAddresses.map(hostCidr),
          dstIpAddrs: endpointAddresses.map(hostCidr),
        },
      },
    }),
    ...change,
  };
}

const hostCidr = (address: string) => `${address}/${address.includes(':') ? 128 : 32}`;

export function livenessContract(make: () => Promise<LivenessWorld>): void {
  let world: LivenessWorld;
  let watch: LivenessWatch | undefined;
  let told: Verdict[];

  beforeEach(async () => {
    world = await make();
    told = [];
  });

  afterEach(async () => {
    watch?.stop();
    await world.close();
  });

  const follow = (connection = connectionOver()): LivenessWatch => {
    watch = world.liveness.watch(connection, (verdict) => told.push(verdict));
    return watch;
  };
  const kinds = () => told.map(({ kind }) => kind);
  const becomes = async (kind: Verdict['kind']): Promise<void> => {
    const isSo = await world.until(() => watch?.verdict.kind === kind);
    expect(isSo, `${kind} in time; told: ${kinds().join(', ')}`).toBe(true);
  };

  describe('a wire', () => {
    it('is unknown at first, then alive, and stays so without another word', async () => {
      expect(follow().verdict.kind).toBe('unknown');
      expect(told).toEqual([]);
      await becomes('alive');
      await world.linger();
      expect(kinds()).toEqual(['alive']);
    });

    it('whose other end vanishes is dead and says who did not answer, and alive again with the first reply', async () => {
      follow();
      await becomes('alive');
      await world.setEndpoint(false);
      await becomes('dead');
      expect(watch?.verdict).toMatchObject({ what: 'wire', found: expect.stringMatching(/255/) });
      await world.setEndpoint(true);
      await becomes('alive');
      expect(kinds()).toEqual(['alive', 'dead', 'alive']);
    });

    it('that never answers is dead after a while', async () => {
      await world.setEndpoint(false);
      follow();
      await becomes('dead');
      expect(kinds()).toEqual(['dead']);
    });

    it('whose interface the workload sets down is unknown, never dead, and alive again after it is up', async () => {
      follow();
      await becomes('alive');
      await world.setInterface(false);
      await becomes('unknown');
      await world.linger();
      await world.setInterface(true);
      await becomes('alive');
      expect(kinds()).toEqual(['alive', 'unknown', 'alive']);
    });
  });

  describe('a confirmation', () => {
    it('comes with the next reply, or with the death', async () => {
      const following = follow();
      expect(await world.run(following.confirm())).toEqual({ kind: 'alive' });
      await world.setEndpoint(false);
      expect((await world.run(following.confirm())).kind).toBe('dead');
      expect((await following.confirm()).kind).toBe('dead');
    });

    it('does not wait for what cannot be sent', async () => {
      const following = follow();
      await becomes('alive');
      await world.setInterface(false);
      expect((await world.run(following.confirm())).kind).toBe('unknown');
    });

    it('ends with the watch', async () => {
      await world.setEndpoint(false);
      const following = follow();
      const confirming = following.confirm();
      following.stop();
      await world.run(confirming);
    });
  });

  describe('a watch', () => {
    it('tells nobody anything once it is stopped', async () => {
      follow();
      await becomes('alive');
      watch?.stop();
      await world.setEndpoint(false);
      await world.linger();
      expect(kinds()).toEqual(['alive']);
    });

    it.each([
      {
        what: 'another mechanism',
        change: { mechanism: { ...kernelMechanism({}), type: 'MEMIF' } },
      },
      { what: 'no addresses', change: { context: undefined as never } },
    ])('of a connection with $what knows nothing', async ({ change }) => {
      const following = follow(connectionOver(change));
      expect((await following.confirm()).kind).toBe('unknown');
      await world.linger();
      expect(told).toEqual([]);
    });
  });
}
