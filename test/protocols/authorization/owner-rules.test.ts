// Protects whose a connection or a name in a registry is, each rule by a table.

import { describe, expect, it } from 'vitest';
import {
  clientAllowed,
  connectionOwner,
  serviceConnection,
} from '../../../protocols/authorization/owner-rules.ts';

describe('client_allowed: a name and who comes for it', () => {
  it.each([
    ['a free name', [], 'nse', 'nsmgr', true],
    ['its owner again', ['nse', 'nsmgr', 'registry'], 'nse', 'nsmgr', true],
    ['its owner through another manager', ['nse', 'nsmgr', 'registry'], 'nse', 'nsmgr-2', true],
    ['somebody else', ['nse', 'nsmgr', 'registry'], 'thief', 'thief', false],
    ['somebody else through the same manager', ['nse', 'nsmgr'], 'thief', 'nsmgr', false],
    ['the manager for its Endpoint that died', ['nse', 'nsmgr', 'r'], 'nsmgr', 'nsmgr', true],
    ['another manager on its own account', ['nse', 'nsmgr', 'r'], 'nsmgr-2', 'nsmgr-2', false],
    ['the Endpoint, after its manager had put it back', ['nsmgr', 'r'], 'nse', 'nsmgr', true],
    ['a thief, after its manager had put it back', ['nsmgr', 'r'], 'thief', 'thief', false],
  ] as const)('%s', (...[, recorded, client, peer, isAllowed]) => {
    const finding = clientAllowed({ name: 'server-1', recorded, client, peer });
    expect(finding?.rule).toBe(isAllowed ? undefined : 'client_allowed');
  });
});

describe('service_connection: the connections of a subscription', () => {
  it.each([
    ['none of that id yet', [], true],
    ['an own one', ['me'], true],
    ['an own one among others', [undefined, 'me'], true],
    ["only others'", [undefined], false],
  ] as const)('%s', (_, owners, isAllowed) => {
    const finding = serviceConnection(owners, 'me');
    expect(finding?.rule).toBe(isAllowed ? undefined : 'service_connection');
  });
});

describe('connection_owner: who goes on with a connection', () => {
  it.each([
    ['its owner', 'me', false, true],
    ['one from before there were tokens', undefined, false, true],
    ['a stranger', 'you', false, false],
    ['a new hop behind the same hops', 'you', true, true],
  ] as const)('%s', (_, owner, isSamePathBefore, isAllowed) => {
    const finding = connectionOwner({ owner, peer: 'me', isSamePathBefore });
    expect(finding?.rule).toBe(isAllowed ? undefined : 'connection_owner');
  });
});
