// Protects whose an address is: the same client has the same key in its next life and at another Endpoint; pods that
// share an identity, wires of one client and clients that prove different identities do not.

import { create } from '@bufbuild/protobuf';
import { expect, it } from 'vitest';
import { leaseOwnerOf } from '../../../protocols/ipam/lease-key.ts';
import { withClientInterface } from '../../../protocols/nsm/client-interface.ts';
import { type Connection, ConnectionSchema } from '../../../protocols/nsm/gen/connection_pb.ts';
import { joinJwt, jwtSigningInput } from '../../../protocols/spiffe/jwt.ts';
import { pathTokenClaims, pathTokenHeader } from '../../../protocols/spiffe/path-token.ts';

const tokenOf = (subject: string, expiresAtMs = 1_000_000): string =>
  joinJwt(
    jwtSigningInput(pathTokenHeader, pathTokenClaims({ subject, audience: [], expiresAtMs })),
    new Uint8Array([1]),
  );

interface Client {
  readonly id?: string;
  readonly name?: string;
  readonly token?: string;
  readonly service?: string;
  readonly interfaceName?: string;
}

function connectionOf(client: Client, id = 'at the Endpoint'): Connection {
  const { id: clientId = 'nsc-0', name = 'nsc', token = '', service = 'service' } = client;
  const pathSegments = [
    { id: clientId, name, token },
    { id, name: 'nse' },
  ];
  const connection = create(ConnectionSchema, {
    id,
    networkService: service,
    path: { index: 1, pathSegments },
  });
  return withClientInterface(connection, client.interfaceName);
}

const key = (client: Client, id?: string): string => leaseOwnerOf(connectionOf(client, id)).key;
const id = 'spiffe://example.org/client';

it('is the same for a client under another connection id, with a newer token, on another interface told', () => {
  const client = { token: tokenOf(id), interfaceName: 'nsm-1' };
  expect(key(client, 'other')).toBe(key(client));
  expect(key({ ...client, token: tokenOf(id, 2_000_000) })).toBe(key(client));
  expect(key({ ...client, id: 'a new life' })).toBe(key(client));
  expect(key({ id: 'x' })).toBe(key({ id: 'y' }));
});

it('tells pods of one identity apart by their names', () => {
  const token = tokenOf(id);
  expect(key({ token, name: 'pod-1' })).not.toBe(key({ token, name: 'pod-2' }));
});

it('tells identities, services and interfaces apart', () => {
  const keys = [
    {},
    { token: tokenOf(id) },
    { token: tokenOf(`${id}2`) },
    { service: 'other' },
    { interfaceName: 'nsm-1' },
    { interfaceName: 'nsm-2' },
  ].map((each) => key(each));
  expect(new Set(keys).size).toBe(keys.length);
});

it('tells the wires of a client that names no interface apart by their places', () => {
  expect(key({ id: 'nsc-0' })).not.toBe(key({ id: 'nsc-1' }));
  expect(key({ id: 'nsc-0' })).toBe(key({ id: 'nsc-0' }, 'another'));
});

it('takes a token that cannot be read, and an interface that cannot be, for none', () => {
  expect(key({ token: 'nonsense' })).toBe(key({}));
  expect(key({ interfaceName: 'far too long for an interface' })).toBe(key({}));
});
