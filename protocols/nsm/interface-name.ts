// Names of kernel interfaces: what the kernel accepts, and the name that a client's end gets when nobody names one.

import { NsmError } from '../errors.ts';
import type { Random } from '../ports/random.ts';

/** IFNAMSIZ of linux/if.h is 16 with the closing zero byte. */
export const interfaceNameBytesMax = 15;

/**
 * Why the name cannot be used; undefined where it can. The kernel refuses `/`, `:` and white space (dev_valid_name of
 * net/core/dev.c); we also refuse control characters and everything outside ASCII, of which it reads some bytes as space.
 */
export function whyBadInterfaceName(name: string): string | undefined {
  if (name === '') return 'it is empty';
  const bad = /[^!-~]|[/:]/.exec(name)?.[0];
  if (bad !== undefined) return `it holds ${JSON.stringify(bad)}`;
  if (name === '.' || name === '..') return 'the kernel reserves it';
  if (name.length <= interfaceNameBytesMax) return undefined;
  return `it has ${name.length} bytes, and the kernel takes at most ${interfaceNameBytesMax}`;
}

/** Throws INVALID_ARGUMENT where the kernel would refuse the name; `where` names the place it came from. */
export function checkInterfaceName(name: string, where: string): void {
  const why = whyBadInterfaceName(name);
  if (why === undefined) return;
  throw new NsmError('INVALID_ARGUMENT', `the interface name cannot be used: ${why}`, {
    rule: where,
    expected: `1 to ${interfaceNameBytesMax} bytes of printable ASCII without "/" and ":"`,
    found: JSON.stringify(name.slice(0, 64)),
    remedy: 'choose a shorter or plainer name, or leave it out to have one made',
  });
}

const alphabet = '0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz';

/**
 * The reference's default: the first 10 characters of the service's name, a dash, and random alphanumerics up to 15
 * characters. Characters that an interface name cannot hold become `x` (the reference would fail on them).
 */
export function defaultInterfaceName(service: string, random: Random): string {
  let name = defaultPrefix(service);
  while (name.length < interfaceNameBytesMax) {
    name += alphabet.charAt(random.integer(alphabet.length));
  }
  return name;
}

/** Whether the name may have been made by `defaultInterfaceName` for this service. */
export function isDefaultInterfaceName(name: string, service: string): boolean {
  const prefix = defaultPrefix(service);
  if (name.length !== interfaceNameBytesMax || !name.startsWith(prefix)) return false;
  return /^[0-9A-Za-z]+$/.test(name.slice(prefix.length));
}

function defaultPrefix(service: string): string {
  return `${service.slice(0, 10).replace(/[^\w.@-]/g, 'x')}-`;
}
