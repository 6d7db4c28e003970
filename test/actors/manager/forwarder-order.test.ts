// Protects the order in which a manager asks its forwarders: the one of the path, then by mechanism, then by load, the
// same for the same registry; and the reference's order where that is wished.

import { create } from '@bufbuild/protobuf';
import { describe, expect, it } from 'vitest';
import {
  type ForwarderOrderInput,
  orderForwarders,
} from '../../../actors/manager/forwarder-order.ts';
import { mechanismsOf, withMechanisms } from '../../../protocols/nsm/forwarder-mechanisms.ts';
import { NetworkServiceEndpointSchema } from '../../../protocols/nsm/gen/registry_pb.ts';

/** Without mechanisms it says nothing of them, as the reference's. */
const forwarder = (name: string, mechanisms?: readonly string[]) =>
  create(NetworkServiceEndpointSchema, {
    name,
    networkServiceLabels: {
      forwarder: {
        labels: {
          ...(mechanisms === undefined
            ? { p2p: 'true' }
            : withMechanisms({ p2p: 'true' }, mechanisms)),
        },
      },
    },
  });

const kernel = forwarder('kernel', ['KERNEL', 'VXLAN']);
const vpp = forwarder('vpp', ['KERNEL', 'MEMIF', 'VXLAN']);
const foreign = forwarder('foreign');
const broken = forwarder('broken', []);

function order(change: Partial<ForwarderOrderInput>) {
  const input: ForwarderOrderInput = {
    candidates: [kernel, vpp, foreign, broken],
    forwarderService: 'forwarder',
    asked: [],
    inPath: undefined,
    policy: 'least-loaded',
    loadOf: () => 0,
    ...change,
  };
  return orderForwarders(input).order.map(({ name }) => name);
}

describe('the order of forwarders', () => {
  it('begins with those that make what is asked for, then who does not say, and ends with who cannot', () => {
    expect(order({ asked: ['MEMIF'] })).toEqual(['vpp', 'foreign', 'broken', 'kernel']);
    expect(order({ asked: ['KERNEL'] })).toEqual(['kernel', 'vpp', 'foreign', 'broken']);
  });

  it('follows the preferences of the client', () => {
    expect(order({ asked: ['MEMIF', 'KERNEL'] })).toEqual(['vpp', 'kernel', 'foreign', 'broken']);
    const loadOf = (name: string) => (name === 'vpp' ? 7 : 0);
    expect(order({ asked: ['MEMIF', 'KERNEL'], loadOf })[0]).toBe('vpp');
    expect(order({ asked: ['KERNEL', 'MEMIF'], loadOf })[0]).toBe('kernel');
  });

  it('is by load among equals, and by name in a tie, however they are registered', () => {
    const loadOf = (name: string) => (name === 'kernel' ? 1 : 0);
    for (const candidates of [
      [kernel, vpp],
      [vpp, kernel],
    ]) {
      expect(order({ candidates, asked: ['KERNEL'], loadOf })).toEqual(['vpp', 'kernel']);
      expect(order({ candidates, asked: ['KERNEL'] })).toEqual(['kernel', 'vpp']);
    }
  });

  it('never moves a wire away from the forwarder of its path', () => {
    const loadOf = (name: string) => (name === 'kernel' ? 100 : 0);
    expect(order({ inPath: 'kernel', asked: ['MEMIF'], loadOf })[0]).toBe('kernel');
  });

  it('is that of the registry where the reference’s is wished', () => {
    const loadOf = (name: string) => (name === 'kernel' ? 1 : 0);
    const asReference = { policy: 'in-order', asked: ['MEMIF'], loadOf } as const;
    expect(order(asReference)).toEqual(['kernel', 'vpp', 'foreign', 'broken']);
    expect(order({ ...asReference, inPath: 'foreign' })[0]).toBe('foreign');
  });

  it('says of those that come last what they lack', () => {
    const { last } = orderForwarders({
      candidates: [kernel, vpp],
      forwarderService: 'forwarder',
      asked: ['MEMIF'],
      inPath: undefined,
      policy: 'least-loaded',
      loadOf: () => 0,
    });
    expect(last).toEqual([{ name: 'kernel', reason: 'makes no MEMIF' }]);
  });
});

it('mechanisms that a forwarder registers are read again, none of them included', () => {
  expect(mechanismsOf(kernel, 'forwarder')).toEqual(['KERNEL', 'VXLAN']);
  expect(mechanismsOf(foreign, 'forwarder')).toBeUndefined();
  expect(mechanismsOf(broken, 'forwarder')).not.toContain('KERNEL');
});
