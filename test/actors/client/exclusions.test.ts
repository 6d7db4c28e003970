// Protects the addresses of one client from each other: what one connection holds no other is given, in a group it may
// be, a refresh changes nothing, the end of a connection frees everything, and the list does not grow.

import { create } from '@bufbuild/protobuf';
import fc from 'fast-check';
import { beforeEach, describe, expect, it } from 'vitest';
import { Exclusions } from '../../../actors/client/exclusions.ts';
import { type Connection, ConnectionSchema } from '../../../protocols/nsm/gen/connection_pb.ts';

let exclusions: Exclusions;

beforeEach(() => {
  exclusions = new Exclusions((id) => (id.startsWith('aware') ? 0 : undefined));
});

function answer(id: string, number: number, told: readonly string[] = []): Connection {
  return create(ConnectionSchema, {
    id,
    networkServiceEndpointName: `nse-of-${id}`,
    context: {
      MTU: 1400,
      ipContext: {
        srcIpAddrs: [`10.0.0.${2 * number + 1}/32`],
        dstIpAddrs: [`10.0.0.${2 * number}/24`],
        srcRoutes: [{ prefix: `10.9.0.${number}/32` }, { prefix: '10.8.0.0/16' }],
        excludedPrefixes: [...told],
      },
    },
  });
}

const excludedIn = ({ context }: Connection): readonly string[] =>
  (context?.ipContext?.excludedPrefixes ?? []).toSorted();
const first = create(ConnectionSchema, { id: 'b' });
const hosts = ['10.0.0.2/32', '10.0.0.3/32', '10.9.0.1/32'];

describe('what one connection holds', () => {
  it('is excluded for the others: addresses and host routes, as hosts', () => {
    exclusions.accept('a', undefined, answer('a', 1));
    expect(excludedIn(exclusions.prepare('b', first))).toEqual(hosts);
    expect(exclusions.prepare('a', answer('a', 1))).toEqual(answer('a', 1));
  });

  it('is taken out again when it has ended, and what others put in stays', () => {
    exclusions.accept('a', undefined, answer('a', 1));
    const sent = exclusions.prepare('b', answer('b', 2, ['192.168.0.0/16']));
    expect(excludedIn(sent)).toEqual([...hosts, '192.168.0.0/16']);
    exclusions.accept('b', undefined, sent);
    exclusions.release('a');
    expect(excludedIn(exclusions.prepare('b', sent))).toEqual(['192.168.0.0/16']);
  });

  it('is followed where it changes', () => {
    exclusions.accept('a', undefined, answer('a', 1));
    const sent = exclusions.prepare('b', first);
    exclusions.accept('a', answer('a', 1), answer('a', 5));
    expect(excludedIn(exclusions.prepare('b', sent))).toEqual([
      '10.0.0.10/32',
      '10.0.0.11/32',
      '10.9.0.5/32',
    ]);
  });

  it('is never its own exclusion, also where another one has the same', () => {
    exclusions.accept('a', undefined, answer('a', 1));
    expect(excludedIn(exclusions.prepare('b', answer('b', 1)))).toEqual([]);
  });
});

describe('an answer with an address that another connection has', () => {
  it('is refused, with both connections named, and nothing is held of it', () => {
    exclusions.accept('a', undefined, answer('a', 1));
    expect(() => exclusions.accept('b', undefined, answer('b', 1))).toThrow(
      expect.objectContaining({
        code: 'ABORTED',
        details: expect.objectContaining({
          rule: 'excluded-prefixes',
          found: '10.0.0.3/32 of nse-of-b, which connection a has',
          connectionId: 'b',
        }),
      }),
    );
    exclusions.release('a');
    expect(excludedIn(exclusions.prepare('c', first))).toEqual([]);
  });

  it('is taken where the connection had it before', () => {
    exclusions.accept('a', undefined, answer('a', 1));
    exclusions.accept('b', answer('b', 1), answer('b', 1));
  });

  it('is taken within a group, and outside of it is not', () => {
    exclusions.accept('aware-1', undefined, answer('aware-1', 1));
    expect(exclusions.prepare('aware-2', first)).toBe(first);
    exclusions.accept('aware-2', undefined, answer('aware-2', 1));
    expect(excludedIn(exclusions.prepare('b', first))).toEqual(hosts);
    expect(() => exclusions.accept('b', undefined, answer('b', 1))).toThrow(/already has/);
  });
});

it('what an Endpoint excludes is passed on by connections outside of groups alone', () => {
  exclusions.accept('aware-1', undefined, answer('aware-1', 1, ['172.16.0.0/12']));
  expect(excludedIn(exclusions.prepare('b', first))).toEqual(hosts);
  exclusions.accept('a', undefined, answer('a', 2, ['192.168.0.0/16']));
  expect(excludedIn(exclusions.prepare('b', first))).toContain('192.168.0.0/16');
});

it('refreshes and restarts in any order leave the lists as the holdings say', () => {
  const id = fc.constantFrom('a', 'b', 'c', 'aware-1', 'aware-2');
  const step = fc.record({ id, ends: fc.boolean() });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
      const book = new Exclusions((each) => (each.startsWith('aware') ? 0 : undefined));
      const live = new Map<string, Connection>();
      const numbers = ['a', 'b', 'c', 'aware-1', 'aware-2'];
      for (const { id: each, ends } of steps) {
        if (ends) {
          book.release(each);
          live.delete(each);
          continue;
        }
        const known = live.get(each) ?? create(ConnectionSchema, { id: each });
        const sent = book.prepare(each, known);
        const made = answer(each, numbers.indexOf(each), excludedIn(sent));
        book.accept(each, live.get(each), made);
        live.set(each, made);
        const others = [...live.keys()].filter(
          (other) => other !== each && !(other.startsWith('aware') && each.startsWith('aware')),
        );
        expect(excludedIn(sent)).toHaveLength(3 * others.length);
      }
    }),
  );
});
