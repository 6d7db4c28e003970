// What follows from what this kernel can and cannot do: which mechanisms there are, and a line for each that there is not.

import type { DataplaneCapabilities } from '../../protocols/ports/dataplane.ts';
import type { KernelFeatures } from './probe.ts';

/** What the driver was given, beside the kernel. */
export interface DriverMeans {
  /** Private keys of tunnels. */
  readonly hasSecrets: boolean;
  /** Joins by bridges even where the kernel can redirect. */
  readonly prefersBridge: boolean;
}

export function capabilitiesOf(
  features: KernelFeatures,
  means: DriverMeans,
): DataplaneCapabilities {
  const mechanisms: string[] = [];
  const canJoin = features.redirect || features.bridge;
  if (features.veth && canJoin) mechanisms.push('KERNEL');
  if (features.vxlan && canJoin) mechanisms.push('VXLAN');
  if (features.veth && whyNoWireguard(features, means) === undefined) mechanisms.push('WIREGUARD');
  return { mechanisms, missing: missingLines(features, means) };
}

/** One line per missing feature, with what follows from it. */
function missingLines(features: KernelFeatures, means: DriverMeans): string[] {
  const lines: string[] = [];
  if (!features.veth) lines.push('veth: no wire can be made');
  if (!features.vxlan) lines.push('vxlan: no wire to another node can be made');
  if (!features.redirect) {
    lines.push('u32 filter with mirred action: wires are joined by a bridge each');
    if (!features.bridge) lines.push('bridge: without the redirect filter no wire can be joined');
  }
  if (!features.sourceFilter) {
    lines.push('nf_tables: VXLAN packets are accepted from any outer source');
  }
  const why = whyNoWireguard(features, means);
  if (why !== undefined) lines.push(`WIREGUARD: ${why}; wires to other nodes are not encrypted`);
  lines.push(
    `IPSEC: the kernel has ${features.xfrm ? 'the' : 'no'} link type xfrm, and this data plane, which has nobody to speak IKEv2 for it, makes none of it`,
    'MEMIF: shared memory needs a data plane in user space; workloads get interfaces of the kernel',
  );
  return lines;
}

/** Undefined where there are tunnels of WireGuard. */
function whyNoWireguard(
  { wireguardFamily, redirect, addedHeader }: KernelFeatures,
  { hasSecrets, prefersBridge }: DriverMeans,
): string | undefined {
  if (wireguardFamily === undefined) {
    return 'the kernel has no link type wireguard (CONFIG_WIREGUARD, Linux 5.6)';
  }
  if (!redirect || prefersBridge) return 'it is joined by redirect filters alone, not by bridges';
  if (!addedHeader) {
    return 'the kernel has no filter action that adds Ethernet headers (CONFIG_NET_ACT_VLAN, Linux 5.10)';
  }
  return hasSecrets ? undefined : 'this data plane was given no keys';
}
