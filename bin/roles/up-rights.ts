// The rights that building wires takes, judged before anything is started. Capabilities and not the user id decide: an
// ordinary user has them inside a user namespace of its own, and root in a locked-down container may not.

import { readFileSync } from 'node:fs';
import { NsmError } from '../../protocols/errors.ts';

/** Bits of linux/capability.h. */
const needed = [
  ['CAP_NET_ADMIN', 12n],
  ['CAP_SYS_ADMIN', 21n],
] as const;

/** Capabilities of this process that are needed and missing. */
export function missingRights(status = readFileSync('/proc/self/status', 'utf8')): string[] {
  const text = /^CapEff:\s*([0-9a-f]+)$/m.exec(status)?.[1];
  const effective = BigInt(`0x${text ?? '0'}`);
  return needed.filter(([, bit]) => (effective & (1n << bit)) === 0n).map(([name]) => name);
}

/** Errors: PERMISSION_DENIED naming what is missing and two ways to get it; `command` is how `up` is called. */
export function requireRights(command: string, missing: readonly string[] = missingRights()): void {
  if (missing.length === 0) return;
  const own = `unshare --user --map-root-user --net --mount sh -c 'ip link set lo up; exec ${command}'`;
  throw new NsmError('PERMISSION_DENIED', 'the forwarder may not build wires', {
    expected: needed.map(([name]) => name).join(' and '),
    found: `user ${process.getuid?.()} without ${missing.join(' and ')}`,
    remedy: `run it as root, or in namespaces of your own (name a --state-dir that you may write): ${own}`,
  });
}
