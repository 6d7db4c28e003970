// Protects that a connection's files are kept from its first answer to its end, and not a moment longer.

import { create } from '@bufbuild/protobuf';
import { expect, it } from 'vitest';
import { holdingHop } from '../../../actors/connection/holding-hop.ts';
import type { Call, Hop, HopRequest } from '../../../actors/connection/hop.ts';
import { NsmError } from '../../../protocols/errors.ts';
import { ConnectionSchema } from '../../../protocols/nsm/gen/connection_pb.ts';
import { kernelMechanism } from '../../../protocols/nsm/kernel-mechanism.ts';

const mechanism = (netnsUrl: string) => kernelMechanism({ netnsUrl, interfaceName: 'nsm-1' });
const connection = create(ConnectionSchema, { id: 'c', mechanism: mechanism('inode://4/1') });
const call: Call = { deadlineMs: 1, signal: new AbortController().signal, headers: {} };
const request: HopRequest = {
  connection,
  preferences: [],
  previous: undefined,
  reselect: false,
  call,
  recordIntent: () => Promise.resolve(),
};

function world(parts: Partial<Hop> = {}) {
  const held = new Map<string, readonly string[]>();
  const hop = holdingHop(
    {
      request: () =>
        Promise.resolve({ connection, memory: { onwardMechanism: mechanism('inode://4/2') } }),
      close: () => Promise.resolve(),
      ...parts,
    },
    {
      hold: (holder, urls) => void held.set(holder, urls),
      release: (holder) => void held.delete(holder),
    },
  );
  return { hop, held };
}

it('holds the files of both sides, and lets go with the Close', async () => {
  const { hop, held } = world();
  await hop.request(request);
  expect(held.get('c')).toEqual(['inode://4/1', 'inode://4/2']);
  await hop.close(connection, {}, call);
  expect(held.size).toBe(0);
});

it('holds nothing for a Request that fails', async () => {
  const { hop, held } = world({ request: () => Promise.reject(new NsmError('ABORTED', 'no')) });
  await expect(hop.request(request)).rejects.toThrow('no');
  expect(held.size).toBe(0);
});

it.each([
  ['next-hop', 0],
  ['local-part', 1],
])('a Close that fails by rule %s leaves %i held', async (rule, left) => {
  const close = () => Promise.reject(new NsmError('UNAVAILABLE', 'no', { rule }));
  const { hop, held } = world({ close });
  await hop.request(request);
  await expect(hop.close(connection, {}, call)).rejects.toThrow('no');
  expect(held.size).toBe(left);
});
