// Protects: an Endpoint's name servers reach the client once, however often the connection is refreshed.

import { create } from '@bufbuild/protobuf';
import { expect, it } from 'vitest';
import { withDnsConfigs } from '../../../actors/nse/dns-configs.ts';
import { ConnectionSchema } from '../../../protocols/nsm/gen/connection_pb.ts';
import { DNSConfigSchema } from '../../../protocols/nsm/gen/connectioncontext_pb.ts';

const own = create(DNSConfigSchema, {
  dnsServerIps: ['10.0.0.1', '10.0.0.2'],
  searchDomains: ['a.example'],
});

it('adds its configuration to what the client has, and once only', () => {
  const foreign = create(DNSConfigSchema, { dnsServerIps: ['192.0.2.1'] });
  const asked = create(ConnectionSchema, { context: { dnsContext: { configs: [foreign] } } });
  const told = withDnsConfigs(asked, [own]);
  expect(told.context?.dnsContext?.configs).toEqual([foreign, own]);
  expect(withDnsConfigs(told, [own])).toBe(told);
  expect(asked.context?.dnsContext?.configs).toEqual([foreign]);
});

it('sees the same servers in another order as the same configuration', () => {
  const turned = create(DNSConfigSchema, { ...own, dnsServerIps: ['10.0.0.2', '10.0.0.1'] });
  const told = withDnsConfigs(create(ConnectionSchema), [turned]);
  expect(withDnsConfigs(told, [own])).toBe(told);
});
