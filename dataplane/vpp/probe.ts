// What this machine's VPP can do, found out by asking it which messages it has.

import { asNsmError } from '../../protocols/errors.ts';
import type { Budget, DataplaneCapabilities } from '../../protocols/ports/dataplane.ts';
import type { Vpp, VppStatistics } from '../../protocols/ports/vpp.ts';
import type { WireEnds } from '../../protocols/ports/wire-ends.ts';
import type { Trunks } from './trunks.ts';

interface Feature {
  /** Mechanism that needs it, where that is to be found under its name. */
  readonly of?: string;
  /** Absent: of VPP itself. */
  readonly plugin?: string;
  readonly messages: readonly string[];
  readonly without: string;
}

const always = [
  'sw_interface_dump',
  'sw_interface_set_flags',
  'sw_interface_tag_add_del',
  'sw_interface_set_l2_xconnect',
  'create_subif',
  'delete_subif',
  'l2_interface_vlan_tag_rewrite',
  'l2_xconnect_dump',
  'want_interface_events',
];
const hostInterfaces: Feature = {
  plugin: 'af_packet',
  messages: ['af_packet_create_v3', 'af_packet_delete'],
  without: 'no wire can be made',
};
const tunnels: Feature = {
  plugin: 'vxlan',
  messages: ['vxlan_add_del_tunnel_v3', 'vxlan_tunnel_v2_dump'],
  without: 'only local wires can be made',
};
const sharedMemory: Feature = {
  plugin: 'memif',
  messages: [
    'memif_create_v2',
    'memif_delete',
    'memif_dump',
    'memif_socket_filename_add_del_v2',
    'memif_socket_filename_dump',
  ],
  without: 'workloads get interfaces of the kernel alone',
};
const accessLists: Feature = {
  plugin: 'acl',
  messages: ['acl_add_replace', 'acl_interface_set_acl_list', 'acl_dump'],
  without: "VPP takes in, and answers, what is for the kernel at the node's outer address",
};

const wireguard: readonly Feature[] = [
  {
    plugin: 'wireguard',
    messages: [
      'wireguard_interface_create',
      'wireguard_interface_delete',
      'wireguard_interface_dump',
      'wireguard_peer_add',
      'wireguard_peer_remove',
      'wireguard_peers_dump',
    ],
    without: 'no wire over WireGuard can be made',
  },
];
const ipsec: readonly Feature[] = [
  {
    of: 'IPSEC',
    messages: ['ipsec_itf_create', 'ipsec_itf_delete', 'ipsec_itf_dump', 'ip_address_dump'],
    without: 'no wire over IPsec can be made',
  },
  {
    of: 'IPSEC',
    plugin: 'ikev2',
    messages: [
      'ikev2_initiate_sa_init',
      'ikev2_profile_add_del',
      'ikev2_profile_dump',
      'ikev2_profile_set_auth',
      'ikev2_profile_set_id',
      'ikev2_profile_set_liveness',
      'ikev2_profile_set_ts',
      'ikev2_profile_set_udp_encap',
      'ikev2_set_esp_transforms',
      'ikev2_set_ike_transforms',
      'ikev2_set_local_key',
      'ikev2_set_responder',
      'ikev2_set_sa_lifetime',
      'ikev2_set_tunnel_interface',
    ],
    without: 'no wire over IPsec can be made',
  },
];
const layer3: Feature = {
  plugin: 'l3xc',
  messages: ['l3xc_update', 'l3xc_del', 'l3xc_dump'],
  without: 'wires to other nodes are not encrypted, and no memif is made for payload IP',
};
const routing: Feature = {
  messages: [
    'create_loopback',
    'ip_neighbor_add_del',
    'ip_route_add_del',
    'ip_table_add_del',
    'sw_interface_add_del_mac_address',
    'sw_interface_set_table',
    'sw_interface_set_unnumbered',
  ],
  without: 'wires to other nodes are not encrypted, and no memif is made for payload IP',
};
const outside: Feature = {
  of: 'VLAN',
  messages: [
    'bridge_domain_add_del_v2',
    'bridge_domain_dump',
    'pipe_create',
    'pipe_delete',
    'pipe_dump',
    'sw_interface_set_l2_bridge',
  ],
  without: 'no wire leads into networks outside',
};
const withoutTrunk =
  'each end has a host interface of its own, and VPP stops for some ten milliseconds whenever one is made or removed';

interface KeysOfProbe {
  /** Absent: no tunnel that is encrypted is made. */
  readonly secrets?: unknown;
  /** Absent: no IPsec tunnel is made. */
  readonly ike?: unknown;
}

/** Errors: those of the socket, and what VPP lacks that no wire can do without. */
export async function probeVpp(
  setup: KeysOfProbe & {
    readonly vpp: Vpp;
    readonly statistics: VppStatistics;
    readonly ends: WireEnds;
    readonly trunks: Pick<Trunks, 'whyNot'>;
    /** Absent: no memif is made. */
    readonly pathOf?: unknown;
    /** Outside of the mesh. */
    readonly networks?: { readonly size: number };
  },
  budget: Budget,
): Promise<DataplaneCapabilities> {
  const { vpp, statistics, ends, trunks, pathOf, networks } = setup;
  const withNetworks = networks !== undefined && networks.size > 0 ? [outside] : [];
  const features = [hostInterfaces, tunnels, sharedMemory, accessLists, ...withNetworks];
  features.push(...encryptionOf(setup));
  const asked = [...always, ...features.flatMap(({ messages }) => messages)];
  const unusable = await vpp.unusable(asked, budget);
  const [broken] = always.flatMap((name) => unusable.get(name) ?? []);
  if (broken !== undefined) throw broken;
  const missing = [...(await ends.probe(budget)).missing];
  const has = ({ of, plugin, messages, without }: Feature): boolean => {
    const [problem] = messages.flatMap((name) => unusable.get(name) ?? []);
    if (problem === undefined) return true;
    const who = plugin === undefined ? 'VPP' : `plugin ${plugin}`;
    const named = of === undefined ? who : `${of}: ${who}`;
    missing.push(`${named}: ${problem.message}; ${without}`);
    return false;
  };
  const canHost = has(hostInterfaces) && !missing.some((line) => line.startsWith('veth'));
  const remote = [...encryptedIn(setup, has), ...(has(tunnels) ? ['VXLAN'] : [])];
  const canShare = pathOf !== undefined && has(sharedMemory);
  if (remote.length > 0) has(accessLists);
  remote.push(...(withNetworks.length > 0 && withNetworks.every(has) ? ['VLAN'] : []));
  const noTrunk = await trunks.whyNot(budget);
  if (noTrunk !== undefined) missing.push(`trunk: ${noTrunk}; ${withoutTrunk}`);
  await statistics.names(budget).catch((error: unknown) => {
    missing.push(`statistics: ${asNsmError(error).message}; tunnels are not counted`);
  });
  if (!canHost) return { mechanisms: [], missing };
  return { mechanisms: ['KERNEL', ...(canShare ? ['MEMIF'] : []), ...remote], missing };
}

function encryptionOf({ secrets, ike }: KeysOfProbe): readonly Feature[] {
  if (secrets === undefined) return [];
  return [layer3, routing, ...wireguard, ...(ike === undefined ? [] : ipsec)];
}

/** Which mechanisms that encrypt VPP has all for. */
function encryptedIn(
  { secrets, ike }: KeysOfProbe,
  has: (feature: Feature) => boolean,
): readonly string[] {
  if (secrets === undefined || ![layer3, routing].every(has)) return [];
  const hasIpsec = ike !== undefined && ipsec.every(has);
  return [...(wireguard.every(has) ? ['WIREGUARD'] : []), ...(hasIpsec ? ['IPSEC'] : [])];
}
