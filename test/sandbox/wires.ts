// Wires for tests: two kernel ends, or one kernel end and a tunnel, with addresses that follow from a number.

import { clientMacAddress, endpointMacAddress } from '../../protocols/nsm/derived-mac.ts';
import type { KernelEnd, VxlanEnd, Wire } from '../../protocols/ports/dataplane.ts';

export interface EndPlaces {
  /** URLs of the namespaces. */
  readonly client: string;
  readonly endpoint: string;
}

/** Client 10.x.y.2z, Endpoint one above it, both with an IPv6 twin, and host routes to each other. */
export function wireAddresses(number: number): { client: string; endpoint: string } {
  const host = number * 2;
  return {
    client: `10.${(host >> 16) & 255}.${(host >> 8) & 255}.${host & 255}`,
    endpoint: `10.${(host >> 16) & 255}.${(host >> 8) & 255}.${(host & 255) + 1}`,
  };
}

export function toIpv6(ip: string): string {
  const [a = 0, b = 0, c = 0, d = 0] = ip.split('.').map(Number);
  return `fd00::${((a << 8) | b).toString(16)}:${((c << 8) | d).toString(16)}`;
}

function kernelEnd(
  netns: string,
  interfaceName: string,
  options: { readonly macAddress: string; readonly own: string; readonly other: string },
): KernelEnd {
  return {
    kind: 'kernel',
    netns,
    interfaceName,
    macAddress: options.macAddress,
    addresses: [`${options.own}/32`, `${toIpv6(options.own)}/128`],
    routes: [{ prefix: `${options.other}/32` }, { prefix: `${toIpv6(options.other)}/128` }],
    neighbors: [],
  };
}

export function clientEnd(netns: string, number: number): KernelEnd {
  const { client, endpoint } = wireAddresses(number);
  const macAddress = clientMacAddress(`client-${number}`);
  return kernelEnd(netns, `nsm-${number}`, { macAddress, own: client, other: endpoint });
}

export function endpointEnd(netns: string, number: number): KernelEnd {
  const { client, endpoint } = wireAddresses(number);
  const macAddress = endpointMacAddress('service', endpoint);
  return kernelEnd(netns, `nse-${number}`, { macAddress, own: endpoint, other: client });
}

export function localWire(places: EndPlaces, number: number, id = `wire-${number}`): Wire {
  return {
    id,
    payload: 'ETHERNET',
    mtu: 0,
    client: clientEnd(places.client, number),
    endpoint: endpointEnd(places.endpoint, number),
  };
}

export function tunnel(options: Omit<VxlanEnd, 'kind'>): VxlanEnd {
  return { kind: 'vxlan', ...options };
}
