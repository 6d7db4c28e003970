// Bounds on a connection's context: addresses, routes, prefixes, policies, DNS, MAC. Forwarders program what stands
// here into a kernel, so what is not an address is refused before it gets that far.

import { parseAddress } from '../ipam/address.ts';
import { limits } from '../limits.ts';
import type {
  ConnectionContext,
  DNSConfig,
  EthernetContext,
  ExtraPrefixRequest,
  IPContext,
  PolicyRoute,
  Route,
} from './gen/connectioncontext_pb.ts';
import { IpFamily_Family } from './gen/connectioncontext_pb.ts';
import {
  checkCount,
  checkPrefix,
  checkPrefixes,
  checkTextMap,
  checkTexts,
  invalid,
} from './validation.ts';

/** Throws INVALID_ARGUMENT for the first thing that is out of bounds or no address. */
export function validateContext(context: ConnectionContext, where: string): void {
  if (context.ipContext !== undefined) validateIpContext(context.ipContext, `${where}.ip_context`);
  if (context.ethernetContext !== undefined) {
    validateEthernet(context.ethernetContext, `${where}.ethernet_context`);
  }
  const configs = context.dnsContext?.configs ?? [];
  checkCount(configs.length, limits.listEntries, `${where}.dns_context.configs`);
  for (const [index, config] of configs.entries()) {
    validateDns(config, `${where}.dns_context.configs[${index}]`);
  }
  checkTextMap(context.extraContext, `${where}.extra_context`);
}

function validateIpContext(ip: IPContext, where: string): void {
  checkPrefixes(ip.srcIpAddrs, `${where}.src_ip_addrs`);
  checkPrefixes(ip.dstIpAddrs, `${where}.dst_ip_addrs`);
  checkPrefixes(ip.excludedPrefixes, `${where}.excluded_prefixes`);
  checkPrefixes(ip.extraPrefixes, `${where}.extra_prefixes`);
  validateRoutes(ip.srcRoutes, `${where}.src_routes`);
  validateRoutes(ip.dstRoutes, `${where}.dst_routes`);
  checkCount(ip.ipNeighbors.length, limits.listEntries, `${where}.ip_neighbors`);
  for (const [index, neighbor] of ip.ipNeighbors.entries()) {
    checkPrefix(neighbor.ip, `${where}.ip_neighbors[${index}].ip`);
    checkMac(neighbor.hardwareAddress, `${where}.ip_neighbors[${index}].hardware_address`);
  }
  checkCount(ip.extraPrefixRequest.length, limits.listEntries, `${where}.extra_prefix_request`);
  for (const [index, request] of ip.extraPrefixRequest.entries()) {
    validateExtraPrefixRequest(request, `${where}.extra_prefix_request[${index}]`);
  }
  checkCount(ip.policies.length, limits.listEntries, `${where}.policies`);
  for (const [index, policy] of ip.policies.entries()) {
    validatePolicy(policy, `${where}.policies[${index}]`);
  }
}

function validateRoutes(routes: readonly Route[], where: string): void {
  checkCount(routes.length, limits.listEntries, where);
  for (const [index, route] of routes.entries()) {
    checkPrefix(route.prefix, `${where}[${index}].prefix`);
    if (route.nextHop !== '' && parseAddress(route.nextHop) === undefined) {
      throw invalid('the next hop of a route is not an IP address', {
        rule: `${where}[${index}].nextHop`,
        expected: 'an IPv4 or IPv6 address, or nothing',
        found: JSON.stringify(route.nextHop.slice(0, limits.addressLength)),
      });
    }
  }
}

function validateExtraPrefixRequest(request: ExtraPrefixRequest, where: string): void {
  const { addrFamily, prefixLen, requiredNumber, requestedNumber } = request;
  const lengthMax = addrFamily?.family === IpFamily_Family.IPV6 ? 128 : 32;
  const holds =
    addrFamily !== undefined &&
    prefixLen >= 1 &&
    prefixLen <= lengthMax &&
    requiredNumber >= 1 &&
    requiredNumber <= requestedNumber &&
    requestedNumber <= limits.listEntries;
  if (holds) return;
  throw invalid('the request for extra prefixes cannot be met by anybody', {
    rule: where,
    expected: `a family, prefix_len 1..${lengthMax}, 1 <= required_number <= requested_number <= ${limits.listEntries}`,
    found: `family ${addrFamily?.family ?? 'absent'}, prefix_len ${prefixLen}, required_number ${requiredNumber}, requested_number ${requestedNumber}`,
  });
}

function validatePolicy(policy: PolicyRoute, where: string): void {
  if (policy.from !== '') checkPrefix(policy.from, `${where}.from`);
  if (policy.proto !== '' && !(/^\d{1,3}$/.test(policy.proto) && Number(policy.proto) <= 255)) {
    throw invalid('the protocol of a policy is not an IP protocol number', {
      rule: `${where}.proto`,
      expected: 'a number of 0 to 255, or nothing',
      found: JSON.stringify(policy.proto.slice(0, limits.addressLength)),
    });
  }
  checkPorts(policy.dstPort, `${where}.dst_port`);
  checkPorts(policy.srcPort, `${where}.src_port`);
  validateRoutes(policy.routes, `${where}.routes`);
}

function checkPorts(text: string, where: string): void {
  if (text === '') return;
  const parts = /^(\d{1,5})(?:-(\d{1,5}))?$/.exec(text);
  const from = Number(parts?.[1] ?? -1);
  const to = Number(parts?.[2] ?? from);
  if (parts !== null && to <= 65_535 && from <= to) return;
  throw invalid('the ports of a policy are neither a port nor a range', {
    rule: where,
    expected: 'port or start-end, each 0 to 65535',
    found: JSON.stringify(text.slice(0, limits.addressLength)),
  });
}

function validateEthernet(ethernet: EthernetContext, where: string): void {
  checkMac(ethernet.srcMac, `${where}.src_mac`);
  checkMac(ethernet.dstMac, `${where}.dst_mac`);
  if (ethernet.vlanTag < 0 || ethernet.vlanTag > 4095) {
    throw invalid('the VLAN tag does not fit 12 bits', {
      rule: `${where}.vlan_tag`,
      expected: '0 to 4095',
      found: `${ethernet.vlanTag}`,
    });
  }
}

function checkMac(text: string, where: string): void {
  if (text === '' || /^[0-9a-fA-F]{2}(?::[0-9a-fA-F]{2}){5}$/.test(text)) return;
  throw invalid('a text is not a MAC address', {
    rule: where,
    expected: 'six pairs of hexadecimal digits with colons, or nothing',
    found: JSON.stringify(text.slice(0, limits.addressLength)),
  });
}

function validateDns(config: DNSConfig, where: string): void {
  const bounds = { count: limits.listEntries, length: limits.addressLength };
  checkTexts(config.dnsServerIps, bounds, `${where}.dns_server_ips`);
  checkTexts(config.searchDomains, { ...bounds, length: 253 }, `${where}.search_domains`);
}
