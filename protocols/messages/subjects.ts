// The grammar of the bus: which subject a call to a component travels on, and the URL that names a component.
// A call goes to `nsm.<domain>.<node>.<component>.<service>.<method>`, what belongs to a call under way to
// `nsm.<domain>.<node>.<component>.$call.<id>`; so one subscription `nsm.<domain>.<node>.<component>.>` serves a
// component. Names are NSM's (they may hold `@ . / * >` and spaces); encoding is injective and round trips.

import { NsmError } from '../errors.ts';

/** Names a component on the bus; unencoded. */
export interface BusAddress {
  readonly domain: string;
  readonly node: string;
  readonly component: string;
}

export const subjectRoot = 'nsm';
/** Never produced by `encodeToken`, so it cannot be mistaken for a service. */
export const callToken = '$call';

/** Encoded. nats-server limits a protocol line to 4096 bytes (max_control_line); a line holds two subjects. */
const tokenLengthMax = 400;

/** A name as one subject token: letters, digits, `_` and `-` as they are, other UTF-8 bytes as `=` and two hex digits. */
export function encodeToken(name: string): string {
  if (name === '') throw badName(name, 'a name of at least one character');
  if (plainToken.test(name)) return name;
  let token = '';
  for (const byte of utf8.encode(name)) {
    const character = String.fromCharCode(byte);
    token += plainToken.test(character)
      ? character
      : `=${byte.toString(16).toUpperCase().padStart(2, '0')}`;
  }
  if (token.length > tokenLengthMax) {
    throw badName(name, `at most ${tokenLengthMax} characters once encoded`);
  }
  if (decodeToken(token) !== name) throw badName(name, 'well-formed Unicode');
  return token;
}

/** The name behind a token, or undefined where the token is not what `encodeToken` makes. */
export function decodeToken(token: string): string | undefined {
  if (!encodedToken.test(token) || token.length > tokenLengthMax) return undefined;
  if (!token.includes('=')) return token;
  const bytes: number[] = [];
  for (let at = 0; at < token.length; at += 1) {
    if (token[at] === '=') {
      const byte = Number.parseInt(token.slice(at + 1, at + 3), 16);
      if (plainToken.test(String.fromCharCode(byte))) return undefined;
      bytes.push(byte);
      at += 2;
    } else bytes.push(token.charCodeAt(at));
  }
  try {
    return strictUtf8.decode(Uint8Array.from(bytes));
  } catch {
    return undefined;
  }
}

/** `nsm.<domain>.<node>.<component>`, the prefix of everything that a component is sent. */
export function componentSubject(address: BusAddress): string {
  return [subjectRoot, ...[address.domain, address.node, address.component].map(encodeToken)].join(
    '.',
  );
}

/** `<service>.<method>` as it follows the component's prefix. */
export function methodSuffix(service: string, method: string): string {
  return `${encodeToken(service)}.${encodeToken(method)}`;
}

export interface CallSubject extends BusAddress {
  readonly service: string;
  readonly method: string;
}

/** Takes a call's subject apart; undefined where it is none. */
export function parseCallSubject(subject: string): CallSubject | undefined {
  const tokens = subject.split('.');
  if (tokens.length !== 6 || tokens[0] !== subjectRoot) return undefined;
  const names = tokens.slice(1).map(decodeToken);
  const [domain, node, component, service, method] = names;
  if (!domain || !node || !component || !service || !method) return undefined;
  return { domain, node, component, service, method };
}

/** `nats://<domain>/<node>/<component>`; characters that a URL keeps for itself are percent-encoded. */
export function busUrl(address: BusAddress): string {
  componentSubject(address);
  return `nats://${[address.domain, address.node, address.component].map(encodeURIComponent).join('/')}`;
}

/** Errors: INVALID_ARGUMENT naming the expected form. */
export function parseBusUrl(url: string): BusAddress {
  const match = /^nats:\/\/([^/?#]+)\/([^/?#]+)\/([^/?#]+)$/.exec(url);
  const [domain, node, component] = (match ?? []).slice(1).map(decodeUrlPart);
  if (!domain || !node || !component) {
    throw new NsmError('INVALID_ARGUMENT', 'not the URL of a component on the bus', {
      rule: 'bus-url',
      expected: 'nats://<domain>/<node>/<component>',
      found: JSON.stringify(url.slice(0, 200)),
    });
  }
  const address = { domain, node, component };
  componentSubject(address);
  return address;
}

const utf8 = new TextEncoder();
const strictUtf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });
const plainToken = /^[A-Za-z0-9_-]+$/;
const encodedToken = /^(?:[A-Za-z0-9_-]|=[0-9A-F]{2})+$/;

function decodeUrlPart(part: string): string | undefined {
  try {
    return decodeURIComponent(part);
  } catch {
    return undefined;
  }
}

function badName(name: string, expected: string): NsmError {
  return new NsmError('INVALID_ARGUMENT', 'a name cannot be put on the bus', {
    rule: 'subject-token',
    expected,
    found: JSON.stringify(name.slice(0, 80)),
  });
}
