// What VPP, or this driver for it, refuses, in the terms of the port: which rule, what was found, what to do.

import { asNsmError, NsmError } from '../../protocols/errors.ts';
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

/** A tunnel without Ethernet headers carries IP, between ends that VPP can reach without asking. Errors: UNIMPLEMENTED. */
export function checkPackets({ id, payload, client, endpoint }: Wire): void {
  const ends = [client, endpoint];
  if (!ends.some(({ kind }) => kind === 'wireguard')) return;
  const other = ends.find(({ kind }) => kind !== 'wireguard' && kind !== 'kernel');
  if (payload === 'IP' && other === undefined) return;
  throw new NsmError('UNIMPLEMENTED', 'WireGuard carries IP packets and no Ethernet frames', {
    rule: payload === 'IP' ? 'mechanism' : 'payload',
    expected: payload === 'IP' ? 'KERNEL or WIREGUARD at the other end' : 'payload IP',
    found: payload === 'IP' ? `${other?.kind}` : `payload ${payload}`,
    remedy: 'use VXLAN, which carries frames',
    connectionId: id,
  });
}

export function noSuchMechanism(wireId: string, kind: string): NsmError {
  return new NsmError('UNIMPLEMENTED', 'the VPP data plane does not make this mechanism', {
    rule: 'mechanism',
    expected: 'kernel, memif, vxlan or wireguard, without a VLAN',
    found: kind,
    remedy: 'use the forwarder over Open vSwitch for VLANs',
    connectionId: wireId,
  });
}

/** Packets without Ethernet headers cannot be handed to an interface that has them. Errors: UNIMPLEMENTED. */
export function checkMemifs({ id, client, endpoint }: Wire): void {
  const isIp = [client, endpoint].some((end) => end.kind === 'memif' && end.mode === 'ip');
  if (!isIp) return;
  throw new NsmError('UNIMPLEMENTED', 'the VPP data plane makes no memif for payload IP yet', {
    rule: 'mechanism',
    expected: 'payload ETHERNET',
    found: 'payload IP',
    remedy: 'ask for KERNEL, or give the Network Service the payload ETHERNET',
    connectionId: id,
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
