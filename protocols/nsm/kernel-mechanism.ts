// The KERNEL mechanism: an interface in a workload's network namespace.
// Parameters: `inodeURL` names the namespace, `name` the interface (at most 15 bytes).

import { NsmError } from '../errors.ts';
import type { Mechanism } from './gen/connection_pb.ts';
import { checkInterfaceName } from './interface-name.ts';
import {
  makeMechanism,
  mechanismClass,
  mechanismType,
  numberParameter,
  parameter,
  parameterKey,
} from './mechanism.ts';
import { parseUrl } from './urls.ts';
import { vlanIdMax } from './vlan-mechanism.ts';

export interface KernelParameters {
  /** `file://` or `inode://<dev>/<ino>` URL of the network namespace. */
  readonly netnsUrl: string;
  readonly interfaceName: string;
  /** With which the workload tags its frames; 0 where it does not. */
  readonly vlanId: number;
}

/** What one side knows of a KERNEL mechanism; what is undefined is left for somebody else to fill in. */
export interface KernelOffer {
  readonly netnsUrl?: string;
  readonly interfaceName?: string;
  /** Whether the forwarder can tag frames towards a workload that asks for it. */
  readonly supportsVlan?: boolean;
}

/** A preference or answer. */
export function kernelMechanism(known: KernelOffer): Mechanism {
  return makeMechanism(mechanismClass.local, mechanismType.kernel, {
    [parameterKey.inodeUrl]: known.netnsUrl,
    [parameterKey.name]: known.interfaceName,
    [parameterKey.supportsVlan]: known.supportsVlan?.toString(),
  });
}

/** What a forwarder needs of a KERNEL mechanism. Throws INVALID_ARGUMENT where a parameter is missing or wrong. */
export function readKernel(mechanism: Mechanism): KernelParameters {
  const netnsUrl = parameter(mechanism, parameterKey.inodeUrl) ?? '';
  const scheme = netnsUrl === '' ? undefined : parseUrl(netnsUrl).scheme;
  if (scheme !== 'file' && scheme !== 'inode') {
    throw new NsmError('INVALID_ARGUMENT', 'the KERNEL mechanism names no network namespace', {
      rule: `mechanism.parameters.${parameterKey.inodeUrl}`,
      expected: 'file:///proc/<pid>/ns/net or inode://<dev>/<ino>',
      found: netnsUrl === '' ? 'nothing' : netnsUrl.slice(0, 200),
    });
  }
  const interfaceName = parameter(mechanism, parameterKey.name) ?? '';
  checkInterfaceName(interfaceName, `mechanism.parameters.${parameterKey.name}`);
  const vlanId = numberParameter(mechanism, parameterKey.vlan, vlanIdMax);
  return { netnsUrl, interfaceName, vlanId };
}
