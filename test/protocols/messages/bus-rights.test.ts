// Protects who may do what on the bus: each role's rights as they are meant, no user who can listen where another one is
// called or answered, and a document that is wrong refused with its line.

import { describe, expect, it } from 'vitest';
import { readBusDescription } from '../../../bin/bus-file.ts';
import { asNsmError } from '../../../protocols/errors.ts';
import {
  busRightsOf,
  type BusUser,
  checkBusDescription,
} from '../../../protocols/messages/bus-rights.ts';

const idOf = (name: string): string => `spiffe://home.test/${name}`;
const inbox = (name: string): string => `_INBOX.spiffe=3A=2F=2Fhome=2Etest=2F${name}.>`;
const rights = (name: string, user: Omit<BusUser, 'spiffeId'>) =>
  busRightsOf({ spiffeId: idOf(name), ...user }, 'dom');

describe('a role', () => {
  it('listens to its own calls and answers alone', () => {
    const of = (name: string, user: Omit<BusUser, 'spiffeId'>) => rights(name, user).subscribe;
    expect(of('m', { roles: ['nsmgr'], node: 'a.b' })).toEqual([
      inbox('m'),
      'nsm.dom.a=2Eb.nsmgr.>',
    ]);
    expect(of('f', { roles: ['forwarder'] })).toEqual([inbox('f'), 'nsm.dom.*.forwarder.>']);
    expect(of('r', { roles: ['registry'] })).toEqual([inbox('r'), 'nsm.dom.registry.*.>']);
    expect(of('c', { roles: ['client'], node: 'a' })).toEqual([inbox('c')]);
    // One that is not said would have to be any, its manager included.
    expect(of('e', { roles: ['endpoint'], node: 'a' })).toEqual([inbox('e')]);
    expect(of('e', { roles: ['endpoint'], node: 'a', component: 'web' })).toEqual([
      inbox('e'),
      'nsm.dom.a.web.>',
    ]);
    expect(of('n', { roles: [] })).toEqual([inbox('n')]);
  });

  it('calls whom it has business with', () => {
    const of = (user: Omit<BusUser, 'spiffeId'>) => rights('x', user).publish;
    expect(of({ roles: ['client'], node: 'a' })).toEqual(['nsm.dom.a.nsmgr.>']);
    expect(of({ roles: [] })).toEqual([]);
    expect(of({ roles: ['nsmgr'], node: 'a' })).toEqual([
      '_INBOX.>',
      'nsm.dom.a.nsmgr.$call.probe',
      'nsm.dom.registry.*.>',
      'nsm.dom.a.*.>',
      'nsm.dom.*.nsmgr.>',
    ]);
    const buckets = (user: Omit<BusUser, 'spiffeId'>) =>
      of(user).filter((subject) => subject.startsWith('$'));
    expect(buckets({ roles: ['forwarder', 'nsmgr', 'client'] })).toEqual([]);
    for (const subject of buckets({ roles: ['registry'] })) {
      expect(subject).toMatch(/vwire-registry-dom|^\$JS\.API\.INFO$/);
    }
  });
});

describe('a document', () => {
  const read = (text: string) => readBusDescription(text, 'bus.yaml', 'dom');

  it('says who is there', () => {
    const text = `
domain: other
users:
  - { id: spiffe://home.test/m, roles: [nsmgr, forwarder], node: n }
  - { id: spiffe://home.test/e, roles: [endpoint], component: web }
`;
    expect(read(text)).toEqual({
      domain: 'other',
      users: [
        { spiffeId: idOf('m'), roles: ['nsmgr', 'forwarder'], node: 'n' },
        { spiffeId: idOf('e'), roles: ['endpoint'], component: 'web' },
      ],
    });
    expect(read('')).toEqual({ domain: 'dom', users: [] });
  });

  it.each([
    ['users: [{ id: C=US, roles: [nsmgr] }]', /line 1.*users\.0\.id/],
    ['users:\n  - { id: spiffe://home.test/m, roles: [admin] }', /line 2.*roles\.0/],
    ['users:\n  - { id: spiffe://home.test/m, role: nsmgr }', /line 2.*role/],
    ['users: [{ roles: [nsmgr] }]', /users\.0/],
  ])('is refused: %s', (text, where) => {
    let refusal: unknown;
    try {
      read(text);
    } catch (error) {
      refusal = error;
    }
    expect(asNsmError(refusal)).toMatchObject({ code: 'INVALID_ARGUMENT' });
    expect(asNsmError(refusal).message).toMatch(where);
  });

  it('names nobody twice', () => {
    const user = { spiffeId: idOf('m'), roles: ['nsmgr'] } as const;
    expect(() => checkBusDescription({ domain: 'dom', users: [user, user] })).toThrow(
      /stands twice/,
    );
  });
});
