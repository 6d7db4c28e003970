// Configuration of the forwarder over the kernel, Open vSwitch or VPP: the variables of the reference's forwarder-vpp and
// forwarder-ovs that have a meaning there. The others are accepted silently, so that a manifest written for either works
// unchanged.

import { registryClientPolicies, commonVariables, expiry, maxTokenLifetime } from '../common.ts';
import {
  duration,
  integer,
  ipAddress,
  labels,
  mechanismTypes,
  oneOf,
  portRange,
  text,
  url,
} from '../kinds.ts';
import { type ConfigOf, optionalVariable, variable } from '../variables.ts';

export const forwarderVariables = {
  name: variable(
    'NSM_NAME',
    text,
    'forwarder',
    'name in paths, in the registry and in kernel tags',
  ),
  labels: variable('NSM_LABELS', labels, 'p2p:true', 'labels of its registration'),
  networkServiceName: variable(
    'NSM_NSNAME',
    text,
    'forwarder',
    'Network Service under which it registers',
  ),
  connectTo: variable(
    'NSM_CONNECT_TO',
    url,
    'unix:///connect.to.socket',
    'the manager of its node',
  ),
  listenOn: variable('NSM_LISTEN_ON', url, 'unix:///listen.on.socket', 'where it serves'),
  maxTokenLifetimeMs: maxTokenLifetime,
  expiry,
  registryClientPolicies,
  dialTimeoutMs: variable('NSM_DIAL_TIMEOUT', duration, '750ms', 'time to reach the next hop'),
  tunnelIp: optionalVariable(
    'NSM_TUNNEL_IP',
    ipAddress,
    'outer address of remote wires; without it only local wires are made',
  ),
  vxlanPort: variable(
    'NSM_VXLAN_PORT',
    integer(0, 65535),
    '0',
    'UDP port of VXLAN; 0 stands for 4789',
  ),
  mechanismPriority: variable(
    'NSM_MECHANISM_PRIORITY',
    mechanismTypes,
    '',
    'types that are offered before all others, in this order; the others keep the order of the data plane',
  ),
  dataplane: variable(
    'VWIRE_DATAPLANE',
    oneOf('kernel', 'ovs', 'vpp'),
    'kernel',
    'what carries the wires: the kernel alone, a bridge of Open vSwitch, or VPP',
  ),
  bridgeName: variable(
    'NSM_BRIDGE_NAME',
    text,
    'br-nsm',
    'ovs alone: its own bridge, made where it is missing',
  ),
  ovsDatabase: variable(
    'VWIRE_OVS_DATABASE',
    text,
    '/var/run/openvswitch/db.sock',
    'ovs alone: socket of ovsdb-server; those of the bridges are in the same folder',
  ),
  egressFile: optionalVariable(
    'NSM_L2_RESOURCE_SELECTOR_FILE',
    text,
    'ovs alone: YAML file of the networks outside that the node is in, by the label via of connections',
  ),
  devicesFile: optionalVariable(
    'NSM_DEVICE_SELECTOR_FILE',
    text,
    'vpp alone: YAML file of the links of the node that lead into networks outside, by the label via of connections',
  ),
  vppApiSocket: variable(
    'NSM_VPP_API_SOCKET',
    text,
    '/var/run/vpp/external/vpp-api.sock',
    'vpp alone: socket of its binary API',
  ),
  vppStatistics: variable(
    'VWIRE_VPP_STATISTICS',
    text,
    '/run/vpp/stats.sock',
    'vpp alone: socket of its statistics; without it tunnels are not counted',
  ),
  accessRulesFile: optionalVariable(
    'NSM_ACL_CONFIG_PATH',
    text,
    "vpp alone: YAML file of access rules, as the reference's firewall takes it, for what clients send through every wire; read at the start",
  ),
  wireguardPorts: variable(
    'VWIRE_WIREGUARD_PORTS',
    portRange,
    '61000-65535',
    'UDP ports that WireGuard tunnels listen on, over VPP and kernels that have it, one for each; other nodes must be let in there',
  ),
  vppHostInterfaces: variable(
    'VWIRE_VPP_HOST_INTERFACES',
    oneOf('shared', 'own'),
    'shared',
    'vpp alone: whether interfaces of workloads share host interfaces of VPP, or each has its own: slow to make, and none waits behind another',
  ),
  vppInit: variable(
    'NSM_VPP_INIT',
    oneOf('AF_PACKET', 'AF_XDP', 'NONE'),
    'AF_PACKET',
    'vpp alone: how it gets to other nodes: AF_PACKET over the link that has NSM_TUNNEL_IP; NONE where whoever runs it has seen to that; AF_XDP is not there yet',
  ),
  reconcileIntervalMs: variable(
    'VWIRE_RECONCILE_INTERVAL',
    duration,
    '30s',
    'pause between two looks over all wires; what others do to one is noticed at once, whatever this says',
  ),
  ...commonVariables,
} as const;

export type ForwarderConfig = ConfigOf<typeof forwarderVariables>;

/** Known to forwarder-vpp or forwarder-ovs, without meaning here. */
export const forwarderIgnoredNames: readonly string[] = [
  'NSM_PROMETHEUS_LISTEN_ON',
  'NSM_PROMETHEUS_CA_FILE',
  'NSM_PROMETHEUS_KEY_FILE',
  'NSM_PROMETHEUS_CERT_FILE',
  'NSM_PROMETHEUS_MONITOR_CERTIFICATE',
  'NSM_PROMETHEUS_SERVER_HEADER_TIMEOUT',
  'NSM_PROMETHEUS_MAX_BIND_THRESHOLD',
  'NSM_VPP_INIT_PARAMS',
  'NSM_VPP_MIN_OPERATION_TIMEOUT',
  'NSM_RESOURCE_POLL_TIMEOUT',
  'NSM_DEVICE_PLUGIN_PATH',
  'NSM_POD_RESOURCES_PATH',
  'NSM_SRIOV_CONFIG_FILE',
  'NSM_PCI_DEVICES_PATH',
  'NSM_PCI_DRIVERS_PATH',
  'NSM_CGROUP_PATH',
  'NSM_VFIO_PATH',
];
