// What VPP, or this driver for it, refuses, in the terms of the port: which rule, what was found, what to do.

import { asNsmError, NsmError } from '../../protocols/errors.ts';
import { ipsecPort } from '../../protocols/nsm/ipsec-mechanism.ts';
import type { VxlanEnd, Wire } from '../../protocols/ports/dataplane.ts';
import type { FoundEnd } from './inventory.ts';

export function laterVersion(wireId: string, found: number, readable: number): NsmError {
  return new NsmError('FAILED_PRECONDITION', 'a later version of vwire made this wire', {
    rule: 'tag version',
    expected: `at most ${readable}`,
    found: String(found),
    remedy: 'start the later version again, or close the connection there first',
    connectionId: wireId,
  });
}

export function vniTaken(wireId: string, end: VxlanEnd, found: string): NsmError {
  return new NsmError('ALREADY_EXISTS', `VNI ${end.vni} is taken in this VPP`, {
    rule: 'vni',
    expected: `a VNI that is free for ${end.localIp}, ${end.remoteIp} and UDP port ${end.localPort}`,
    found,
    remedy: 'draw another VNI or listen on another UDP port',
    connectionId: wireId,
  });
}

/** Their keys are drawn, so this is somebody's copy. */
export function peerTaken(wireId: string, holder: FoundEnd): NsmError {
  return new NsmError('ALREADY_EXISTS', 'this VPP has a WireGuard peer with that key already', {
    rule: 'WireGuard peer',
    expected: 'a public key that no other tunnel of this VPP has as its peer',
    found: `a peer of ${holder.name}, ${holder.tag === undefined ? "somebody else's" : `wire ${holder.tag.wireId}`}`,
    remedy: 'take that tunnel away, or give the other node another key',
    connectionId: wireId,
  });
}

/** VPP has one private key for IKEv2, and whoever set it last has it. */
export function ikeKeyTaken(wireId: string, holder: string): NsmError {
  return new NsmError('FAILED_PRECONDITION', 'this VPP proves itself by another key in IKEv2', {
    rule: 'IKEv2 key',
    expected: 'no IKEv2 profile with certificates but those of this forwarder',
    found: `profile ${holder}`,
    remedy: 'make IPsec tunnels with one forwarder of this VPP alone; others use WIREGUARD',
    connectionId: wireId,
  });
}

export function unreadableKey(wireId: string, path: string, cause: unknown): NsmError {
  const { rule = '' } = asNsmError(cause).details;
  // What `clib_error_t` becomes; VPP's log has the words.
  if (!rule.startsWith('UNSPECIFIED')) return asNsmError(cause);
  return new NsmError('FAILED_PRECONDITION', 'VPP cannot read a key of IKEv2', {
    rule: 'IKEv2 key file',
    expected: 'a file that VPP finds, and may read, under the path by which it was written',
    found: path,
    remedy:
      'let VPP and the forwarder see the folder of the API socket under one path, and VPP be root or the user of the forwarder',
    connectionId: wireId,
    cause,
  });
}

export function noUnderlay(wireId: string, localIp: string, found: readonly string[]): NsmError {
  return new NsmError('FAILED_PRECONDITION', 'VPP has no interface to begin IKEv2 from', {
    rule: 'outer address',
    expected: `an interface of VPP whose first address of that family is ${localIp}`,
    found: found.join(', ') || 'no addresses',
    remedy: 'give VPP that address, or set NSM_TUNNEL_IP to the first one that it has',
    connectionId: wireId,
  });
}

/**
 * VPP asks for IKEv2 at 500, and encrypts to 4500 alone; that of 26.10 sends IKEv2 over IPv6 without the checksum that
 * IPv6 demands. Errors: UNIMPLEMENTED.
 */
export function checkIpsec({ id, client, endpoint }: Wire): void {
  for (const end of [client, endpoint]) {
    if (end.kind !== 'ipsec') continue;
    if (end.remoteIp.includes(':')) {
      throw new NsmError(
        'UNIMPLEMENTED',
        'the VPP data plane makes IPsec tunnels over IPv4 alone',
        {
          rule: 'outer address of IPSEC',
          expected: 'an IPv4 address',
          found: end.remoteIp,
          remedy: 'use WIREGUARD, or give the nodes an IPv4 address for tunnels',
          connectionId: id,
        },
      );
    }
    const other = [end.localPort, end.remotePort].find((port) => port !== ipsecPort);
    if (other === undefined) continue;
    throw new NsmError('UNIMPLEMENTED', 'the VPP data plane makes IPsec tunnels on one port', {
      rule: 'UDP port of IPSEC',
      expected: String(ipsecPort),
      found: String(other),
      connectionId: id,
    });
  }
}

export function noSuchMechanism(wireId: string, kind: string): NsmError {
  return new NsmError('UNIMPLEMENTED', 'the VPP data plane does not make this mechanism', {
    rule: 'mechanism',
    expected: 'kernel, memif, vxlan, vlan, wireguard or ipsec',
    found: kind,
    connectionId: wireId,
  });
}

/** A host interface is made over a link of the namespace that VPP is in, which need not be the forwarder's. */
export function hostInterfaceRefused(wireId: string, link: string, thrown: unknown): NsmError {
  const error = asNsmError(thrown);
  const { rule = '', found = '' } = error.details;
  if (!/INVALID_INTERFACE|SYSCALL_ERROR|IF_ALREADY_EXISTS/.test(rule)) return error;
  return new NsmError('FAILED_PRECONDITION', `VPP cannot take the link ${link}`, {
    rule: 'host interface',
    expected: 'a link in the network namespace of VPP, that it may open',
    found: `${rule} ${found}`.trim(),
    remedy:
      'run VPP in the network namespace of this forwarder, with CAP_NET_RAW and enough locked memory (ulimit -l)',
    connectionId: wireId,
    cause: thrown,
  });
}
