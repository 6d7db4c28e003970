// Protects the types that are written by hand: every field of ours is in the definitions at hand with the same kind of
// value, and numbers of enums are VPP's.

import { describe, expect, expectTypeOf, test } from 'vitest';
import type { ApiModule } from '../../../protocols/vpp/api-definition.ts';
import { createCatalog } from '../../../protocols/vpp/api-catalog.ts';
import type { ValueCodec } from '../../../protocols/vpp/value-codec.ts';
import { shapeDifferences } from '../../../protocols/vpp/message-shape.ts';
import * as enums from '../../../protocols/vpp/messages/enums.ts';
import type {
  DetailsFields,
  ReplyFields,
  RequestFields,
} from '../../../protocols/vpp/messages/known-messages.ts';
import {
  eventShape,
  knownDumps,
  knownEvents,
  knownRequests,
  shapesAround,
} from '../../../protocols/vpp/messages/known-messages.ts';
import type { VppFields } from '../../../protocols/vpp/values.ts';
import { forwarderApi, realApi } from './known-apis.ts';

const apis: readonly (readonly [string, readonly ApiModule[]])[] = [
  ['the definitions of the tests', forwarderApi],
  ...(realApi === undefined ? [] : [['those of a real VPP', realApi] as const]),
];

const vppNames: Readonly<Record<string, readonly [string, Readonly<Record<string, string>>]>> = {
  interfaceFlags: [
    'if_status_flags',
    { adminUp: 'IF_STATUS_API_FLAG_ADMIN_UP', linkUp: 'IF_STATUS_API_FLAG_LINK_UP' },
  ],
  subInterfaceFlags: [
    'sub_if_flags',
    {
      oneTag: 'SUB_IF_API_FLAG_ONE_TAG',
      twoTags: 'SUB_IF_API_FLAG_TWO_TAGS',
      exactMatch: 'SUB_IF_API_FLAG_EXACT_MATCH',
    },
  ],
  rxMode: [
    'rx_mode',
    {
      polling: 'RX_MODE_API_POLLING',
      interrupt: 'RX_MODE_API_INTERRUPT',
      adaptive: 'RX_MODE_API_ADAPTIVE',
      default: 'RX_MODE_API_DEFAULT',
    },
  ],
  afPacketMode: [
    'af_packet_mode',
    { ethernet: 'AF_PACKET_API_MODE_ETHERNET', ip: 'AF_PACKET_API_MODE_IP' },
  ],
  afPacketFlags: [
    'af_packet_flags',
    {
      qdiscBypass: 'AF_PACKET_API_FLAG_QDISC_BYPASS',
      checksumAndGso: 'AF_PACKET_API_FLAG_CKSUM_GSO',
      version2: 'AF_PACKET_API_FLAG_VERSION_2',
    },
  ],
  tapFlags: [
    'tap_flags',
    {
      gso: 'TAP_API_FLAG_GSO',
      checksumOffload: 'TAP_API_FLAG_CSUM_OFFLOAD',
      persist: 'TAP_API_FLAG_PERSIST',
      attach: 'TAP_API_FLAG_ATTACH',
      tun: 'TAP_API_FLAG_TUN',
    },
  ],
  memifRole: ['memif_role', { master: 'MEMIF_ROLE_API_MASTER', slave: 'MEMIF_ROLE_API_SLAVE' }],
  memifMode: ['memif_mode', { ethernet: 'MEMIF_MODE_API_ETHERNET', ip: 'MEMIF_MODE_API_IP' }],
  addressFamily: ['address_family', { ip4: 'ADDRESS_IP4', ip6: 'ADDRESS_IP6' }],
  fibPathProtocol: [
    'fib_path_nh_proto',
    {
      ip4: 'FIB_API_PATH_NH_PROTO_IP4',
      ip6: 'FIB_API_PATH_NH_PROTO_IP6',
      mpls: 'FIB_API_PATH_NH_PROTO_MPLS',
      ethernet: 'FIB_API_PATH_NH_PROTO_ETHERNET',
    },
  ],
  fibPathType: [
    'fib_path_type',
    {
      normal: 'FIB_API_PATH_TYPE_NORMAL',
      local: 'FIB_API_PATH_TYPE_LOCAL',
      drop: 'FIB_API_PATH_TYPE_DROP',
    },
  ],
  neighborFlags: [
    'ip_neighbor_flags',
    { static: 'IP_API_NEIGHBOR_FLAG_STATIC', noFibEntry: 'IP_API_NEIGHBOR_FLAG_NO_FIB_ENTRY' },
  ],
  aclAction: [
    'acl_action',
    {
      deny: 'ACL_ACTION_API_DENY',
      permit: 'ACL_ACTION_API_PERMIT',
      permitReflect: 'ACL_ACTION_API_PERMIT_REFLECT',
    },
  ],
  wireguardPeerFlags: [
    'wireguard_peer_flags',
    { dead: 'WIREGUARD_PEER_STATUS_DEAD', established: 'WIREGUARD_PEER_ESTABLISHED' },
  ],
  tunnelMode: [
    'tunnel_mode',
    { pointToPoint: 'TUNNEL_API_MODE_P2P', multipoint: 'TUNNEL_API_MODE_MP' },
  ],
};

const numbers = new Map<string, unknown>(Object.entries(enums));

describe.each(apis)('by %s', (_, modules) => {
  const catalog = createCatalog(modules);
  const requests = [...Object.keys(knownRequests), ...Object.keys(knownDumps)];

  test.each(requests)('%s and what answers it have the fields of our types', (name) => {
    const shapes = shapesAround(name);
    const differences = shapes.flatMap(({ message, fields }) =>
      shapeDifferences(catalog.codec(message).body, { kind: 'struct', fields }, message),
    );
    expect(differences).toEqual([]);
    const service = catalog.service(name);
    expect([name, service?.reply]).toEqual(shapes.map(({ message }) => message));
    expect(service?.isStream).toBe(name in knownDumps);
  });

  test.each(Object.keys(knownEvents))('%s has the fields of our type', (name) => {
    const fields = eventShape(name)?.fields ?? {};
    const codec = catalog.codec(name);
    expect(shapeDifferences(codec.body, { kind: 'struct', fields }, name)).toEqual([]);
    expect(catalog.isEvent(name)).toBe(true);
  });

  test.each(Object.entries(vppNames))(
    'the numbers of %s are those of VPP',
    (ours, [theirs, names]) => {
      const values = modules
        .map((module) => module.enums.get(theirs)?.values)
        .find((map) => map !== undefined);
      const expected = Object.entries(names).map(([name, label]) => [name, values?.get(label)]);
      expect(numbers.get(ours)).toEqual(Object.fromEntries(expected));
    },
  );
});

test('every enum of ours is compared', () => {
  expect(numbers.get('allOnes')).toBe(2 ** 32 - 1);
  expect([...Object.keys(vppNames), 'allOnes'].sort()).toEqual([...numbers.keys()].sort());
});

test('a difference is named by message, field, kind', () => {
  const catalog = createCatalog(forwarderApi);
  const codec = catalog.codec('ip_route_add_del').body;
  const strange = {
    kind: 'struct',
    fields: {
      is_add: { kind: 'number' },
      route: {
        kind: 'struct',
        fields: {
          paths: {
            kind: 'list',
            element: { kind: 'struct', fields: { speed: { kind: 'number' } } },
          },
        },
      },
    },
  } as const;
  expect(shapeDifferences(codec, strange, 'ip_route_add_del')).toEqual([
    'ip_route_add_del.is_add: expected number, found boolean',
    'ip_route_add_del.route.paths[].speed: expected number, found nothing',
  ]);
  const newer = {
    kind: 'struct',
    fields: { speed: { kind: 'number', isOptional: true } },
  } as const;
  expect(shapeDifferences(codec, newer, 'x')).toEqual([]);
  const flat: ValueCodec = catalog.codec('memif_dump').body;
  expect(shapeDifferences(flat, { kind: 'list' }, 'x')).toEqual(['x: expected list, found struct']);
});

test('the types are those of the shapes: what is optional, what comes back, and anything for what is not typed', () => {
  expectTypeOf<RequestFields<'delete_subif'>>().toEqualTypeOf<{ readonly sw_if_index: number }>();
  expectTypeOf<ReplyFields<'add_node_next'>>().toEqualTypeOf<{ readonly next_index: number }>();
  expectTypeOf<DetailsFields<'af_packet_dump'>['host_if_name']>().toEqualTypeOf<string>();
  expectTypeOf<RequestFields<'some_other_message'>>().toEqualTypeOf<VppFields>();
  const dump: RequestFields<'create_loopback'> = {};
  expect(dump).toEqual({});
});

/** A checksum covers all fields and types: where it is the same, so must they be. */
test.skipIf(realApi === undefined)(
  'messages of the tests are those of the real VPP with that checksum',
  () => {
    const real = createCatalog(realApi ?? []);
    const ours = createCatalog(forwarderApi);
    const layout = (codec: ValueCodec): unknown => [
      codec.kind,
      codec.minBytes,
      [...(codec.fields ?? [])].map(([name, field]) => [name, layout(field)]),
      codec.element === undefined ? [] : layout(codec.element),
    ];
    const same = ours.names.filter((name) => real.message(name)?.crc === ours.message(name)?.crc);
    for (const name of same) {
      expect(layout(ours.codec(name).body), name).toEqual(layout(real.codec(name).body));
    }
    console.warn(
      `${same.length} of ${ours.names.length} messages of the tests are in the real definitions`,
    );
  },
);
