// Protects the codec of policy rules and table routes: what is written is what is read back, whatever the values, and
// what is no rule of ours is not taken for one.

import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { parseMessages } from '../../../protocols/netlink/codec.ts';
import { messageType } from '../../../protocols/netlink/constants.ts';
import { formatIp, formatPrefix, networkOf } from '../../../protocols/netlink/ip-address.ts';
import {
  addRule,
  addTableMark,
  addTableRoute,
  deleteRule,
  parseRule,
  parseTableRoute,
  type Rule,
  type TableRoute,
} from '../../../protocols/netlink/rule.ts';

const only = (bytes: Uint8Array) => {
  const [message] = parseMessages(bytes);
  if (message === undefined) throw new Error('no message');
  return message;
};

const families = [
  { family: 2, length: 4 },
  { family: 10, length: 16 },
] as const;
const family = fc.constantFrom(...families);
const u32 = fc.integer({ min: 1, max: 0xffff_ffff });
const port = fc.integer({ min: 1, max: 65_535 });
const ports = fc
  .tuple(port, port)
  .map(([a, b]) => ({ first: Math.min(a, b), last: Math.max(a, b) }));

const rules: fc.Arbitrary<Rule> = family.chain(({ family: ofFamily, length }) =>
  fc.record(
    {
      family: fc.constant(ofFamily),
      priority: u32,
      table: u32,
      source: fc.record({
        family: fc.constant(ofFamily),
        bytes: fc.uint8Array({ minLength: length, maxLength: length }),
        prefixLengthBits: fc.integer({ min: 1, max: length * 8 }),
      }),
      incoming: fc.stringMatching(/^[a-z0-9.-]{1,15}$/),
      mark: u32,
      ipProtocol: fc.integer({ min: 1, max: 255 }),
      sourcePorts: ports,
      destinationPorts: ports,
    },
    { requiredKeys: ['family', 'priority', 'table'] },
  ),
);

const routes: fc.Arbitrary<TableRoute> = family.chain(({ family: ofFamily, length }) => {
  const bytes = fc.uint8Array({ minLength: length, maxLength: length });
  return fc.record(
    {
      table: u32,
      index: u32,
      destination: fc.record({
        family: fc.constant(ofFamily),
        bytes,
        prefixLengthBits: fc.integer({ min: 0, max: length * 8 }),
      }),
      gateway: fc.record({ family: fc.constant(ofFamily), bytes }),
    },
    { requiredKeys: ['table', 'index', 'destination'] },
  );
});

describe('a rule', () => {
  it('is read as it was written', () => {
    fc.assert(
      fc.property(rules, (rule) => {
        const { source } = rule;
        const wanted = source === undefined ? rule : { ...rule, source: networkOf(source) };
        expect(parseRule(only(addRule(rule).bytes))).toEqual({ rule: wanted, isOurs: true });
      }),
    );
  });

  it('is deleted by the same words', () => {
    fc.assert(
      fc.property(rules, (rule) => {
        const [added, deleted] = [addRule(rule), deleteRule(rule)].map(({ bytes }) => only(bytes));
        expect(deleted?.type).toBe(messageType.delRule);
        expect(deleted?.payload).toEqual(added?.payload);
      }),
    );
  });
});

it('a route of a table is read as it was written', () => {
  fc.assert(
    fc.property(routes, (route) => {
      const { destination, gateway, table, index } = route;
      const { bytes, prefixLengthBits } = networkOf(destination);
      expect(parseTableRoute(only(addTableRoute(route).bytes))).toEqual({
        family: destination.family,
        table,
        isOurs: true,
        kind: 'route',
        index,
        prefix: formatPrefix(bytes, prefixLengthBits),
        gateway: gateway === undefined ? undefined : formatIp(gateway.bytes),
        metric: 0,
      });
    }),
  );
});

it('a mark is told from a route, and says whose it is', () => {
  fc.assert(
    fc.property(family, u32, u32, ({ family: ofFamily }, table, metric) => {
      const found = parseTableRoute(only(addTableMark({ family: ofFamily, table, metric }).bytes));
      expect(found).toMatchObject({ kind: 'mark', table, metric, isOurs: true });
    }),
  );
});

it('anything else is neither, and nothing throws', () => {
  fc.assert(
    fc.property(
      fc.integer({ min: 0, max: 100 }),
      fc.uint8Array({ maxLength: 80 }),
      (type, bytes) => {
        const message = { type, flags: 0, sequence: 0, port: 0, payload: bytes };
        const [rule, route] = [parseRule(message), parseTableRoute(message)];
        if (type !== messageType.newRule) expect(rule).toBeUndefined();
        if (type !== messageType.newRoute) expect(route).toBeUndefined();
      },
    ),
  );
});
