// Protects policy routes at the Endpoint over a connection's life: told with an address and a way back, changed and
// taken away without a trace, also those that another Endpoint had told, and never at the cost of the client's address.

import { create } from '@bufbuild/protobuf';
import { expect, it } from 'vitest';
import { withoutPolicies, withPolicies } from '../../../actors/nse/policy-routes.ts';
import { type Connection, ConnectionSchema } from '../../../protocols/nsm/gen/connection_pb.ts';
import {
  type PolicyRoute,
  PolicyRouteSchema,
} from '../../../protocols/nsm/gen/connectioncontext_pb.ts';

const leased = create(ConnectionSchema, {
  id: 'a',
  context: {
    MTU: 1400,
    ipContext: {
      srcIpAddrs: ['10.0.0.1/32'],
      dstIpAddrs: ['10.0.0.0/32'],
      srcRoutes: [{ prefix: '10.0.0.0/32' }],
      dstRoutes: [{ prefix: '10.0.0.1/32' }],
    },
  },
});
const from = (text: string): PolicyRoute => create(PolicyRouteSchema, { from: text });
const factsOf = ({ context }: Connection) => ({
  src: context?.ipContext?.srcIpAddrs,
  back: context?.ipContext?.dstRoutes.map(({ prefix }) => prefix),
  policies: context?.ipContext?.policies.map((each) => each.from),
});

it('are told with an address of the client and a route back to it, each once', () => {
  const told = withPolicies(leased, [from('172.16.2.200/24'), from('172.16.2.200/24'), from('')]);
  expect(factsOf(told)).toEqual({
    src: ['10.0.0.1/32', '172.16.2.200/24'],
    back: ['10.0.0.1/32', '172.16.2.200/32'],
    policies: ['172.16.2.200/24', '172.16.2.200/24', ''],
  });
  expect(told.context?.MTU).toBe(1400);
});

it('are taken out whole, whoever told them', () => {
  const told = withPolicies(leased, [from('172.16.2.200/24'), from('fd00::7/64')]);
  expect(factsOf(withoutPolicies(told))).toEqual({
    src: ['10.0.0.1/32'],
    back: ['10.0.0.1/32'],
    policies: [],
  });
});

it('cost nothing where there are none', () => {
  expect(withoutPolicies(leased)).toBe(leased);
  expect(withPolicies(leased, [])).toBe(leased);
  const bare = create(ConnectionSchema);
  expect(withoutPolicies(bare)).toBe(bare);
  expect(factsOf(withPolicies(bare, [from('10.1.0.1/32')])).src).toEqual(['10.1.0.1/32']);
});
