// Protects what counts as life of a wire at its Endpoint: packets that came in on its own interface, which is there as
// long as the wire is; one of the same name in another namespace is not it.

import { create } from '@bufbuild/protobuf';
import { expect, it } from 'vitest';
import type { Finding } from '../../../actors/connection/keeping.ts';
import { packetsReceived } from '../../../actors/nse/packets-received.ts';
import { ConnectionSchema } from '../../../protocols/nsm/gen/connection_pb.ts';
import { kernelMechanism } from '../../../protocols/nsm/kernel-mechanism.ts';

const netns = 'inode://4/1';

function look(netnsUrl: string, interfaceName: string, type = 'KERNEL'): Promise<Finding> {
  const received = (name: string) =>
    name === 'broken' ? Promise.reject(new Error('test')) : Promise.resolve(counted[name]);
  const mechanism = { ...kernelMechanism({ netnsUrl, interfaceName }), type };
  const intent = {
    connection: create(ConnectionSchema, { id: 'a', mechanism }),
    preferences: [],
    memory: {},
    closeAtMs: 0,
    established: true,
  };
  const call = { deadlineMs: 1, signal: new AbortController().signal, headers: {} };
  return packetsReceived(received, netns)(intent, call);
}

const counted: Readonly<Record<string, bigint>> = { 'nse-1': 7n };

it('a memif, which somebody else drives, says nothing', async () => {
  expect(await look(netns, 'nse-1', 'MEMIF')).toMatchObject({ kind: 'unknown' });
});

it.each([
  ['its interface', netns, 'nse-1', { kind: 'there', packets: 7n }],
  ['no such interface', netns, 'nse-2', { kind: 'gone' }],
  ['one of another namespace', 'inode://4/2', 'nse-1', { kind: 'gone' }],
  ['nothing that can be read', netns, 'broken', { kind: 'unknown' }],
])('%s', async (_, netnsUrl, name, found) => {
  expect(await look(netnsUrl, name)).toMatchObject(found);
});
