// Protects the database from work that grows with what is there: however many ports come to a bridge at the same time,
// its set of ports is changed once, and nothing else of the transaction is touched.

import { expect, test } from 'vitest';

import {
  addedTogether,
  addPort,
  dropPorts,
  setUse,
} from '../../../dataplane/ovs/port-operations.ts';
import type { TunnelUse } from '../../../dataplane/ovs/tags.ts';

const owner = { installation: 'ours', forwarder: 'node' };
const end = { wireId: 'wire', side: 'client', version: 1, link: 7, isJoined: true } as const;
const port = (name: string, bridge: string) =>
  addPort({ owner, bridge }, { name, requested: 1, end });

test('ports of one bridge are added by one mutation, behind all else, in their order', () => {
  const use: TunnelUse = { ...end, vni: 1, localPort: 4789, remotePort: 4789 };
  const others = [...setUse('tunnel', use), ...dropPorts(['old'])];
  const added = addedTogether([
    ...port('a', 'here'),
    ...others,
    ...port('b', 'there'),
    ...port('c', 'here'),
  ]);
  const operations = added.map(({ op }) => op);
  expect(operations).toEqual([
    'insert',
    'insert',
    ...others.map(({ op }) => op),
    'insert',
    'insert',
    'insert',
    'insert',
    'mutate',
    'mutate',
  ]);
  expect(added.slice(2, 4)).toEqual(others);
  const named = (name: string) => ['named-uuid', `port_${name}`];
  expect(added.slice(-2)).toMatchObject([
    {
      where: [['_uuid', '==', ['uuid', 'here']]],
      mutations: [['ports', 'insert', ['set', [named('a'), named('c')]]]],
    },
    {
      where: [['_uuid', '==', ['uuid', 'there']]],
      mutations: [['ports', 'insert', ['set', [named('b')]]]],
    },
  ]);
});

test('a transaction that adds no port is left as it is', () => {
  const operations = dropPorts(['one', 'two']);
  expect(addedTogether(operations)).toEqual(operations);
});
