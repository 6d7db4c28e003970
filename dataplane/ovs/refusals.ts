// What the switch, or this driver for it, refuses, in the terms of the port: which rule, what was found, what to do.

import { NsmError } from '../../protocols/errors.ts';
import type { VxlanEnd } from '../../protocols/ports/dataplane.ts';

export function laterVersion(wireId: string, found: number, readable: number): NsmError {
  return new NsmError('FAILED_PRECONDITION', 'a later version of vwire made this wire', {
    rule: 'tag version',
    expected: `at most ${readable}`,
    found: String(found),
    remedy: 'start the later version again, or close the connection there first',
    connectionId: wireId,
  });
}

export function vniTaken(wireId: string, vni: number, found: string): NsmError {
  return new NsmError('ALREADY_EXISTS', `VNI ${vni} is taken on this node`, {
    rule: 'vni',
    expected: 'a VNI that is free for this peer and UDP port',
    found,
    remedy: 'draw another VNI or listen on another UDP port',
    connectionId: wireId,
  });
}

/** One switch has one tunnel to a peer and port; another bridge of it may have that already. */
export function tunnelRefused(wireId: string, end: VxlanEnd, found: string): NsmError {
  if (/exists/i.test(found)) return vniTaken(wireId, end.vni, `${found}, on another bridge`);
  return new NsmError('FAILED_PRECONDITION', `the switch cannot send to ${end.remoteIp}`, {
    rule: 'tunnel',
    expected: 'a tunnel port that the switch can open',
    found,
    connectionId: wireId,
  });
}

export function portRefused(wireId: string, name: string, found: string): NsmError {
  return new NsmError('FAILED_PRECONDITION', `the switch cannot use ${name}`, {
    rule: 'port',
    expected: 'a link in the network namespace of ovs-vswitchd',
    found,
    remedy: 'run ovs-vswitchd in the same network namespace as this forwarder',
    connectionId: wireId,
  });
}
