// URLs of components: where something listens or is dialled, and files that name a namespace or a socket.
// `unix:///path`, `tcp://host:port`, `inode://dev/ino`, `file:///path`, `nats://domain/node/component`, `memory:name`,
// and the bare `host:port` of the reference's manifests, which means tcp.
// Invariant: format(parse(text)) is text again, but for the bare form, which becomes `tcp://`.

import { NsmError } from '../errors.ts';
import { limits } from '../limits.ts';

/** A node of a domain on the bus. */
export interface NodeAddress {
  readonly domain: string;
  readonly node: string;
}

export type ComponentUrl =
  | { readonly scheme: 'unix' | 'file'; readonly path: string }
  | { readonly scheme: 'tcp'; readonly host: string; readonly port: number }
  | { readonly scheme: 'inode'; readonly dev: bigint; readonly ino: bigint }
  | ({ readonly scheme: 'nats'; readonly component: string } & NodeAddress)
  | { readonly scheme: 'memory'; readonly name: string };

/** What the text names. `tcp` may have an empty host, which listens on all. Throws INVALID_ARGUMENT. */
export function parseUrl(text: string): ComponentUrl {
  if (text.length > limits.urlLength) {
    throw badUrl(text, `at most ${limits.urlLength} characters`, `${text.length} characters`);
  }
  if (/[\s\p{Cc}]/u.test(text)) throw badUrl(text, 'a URL without spaces and control characters');
  if (text.startsWith('memory:')) return memoryUrl(text);
  const separator = text.indexOf('://');
  if (separator === -1) return tcpUrl(text, text);
  const rest = text.slice(separator + 3);
  switch (text.slice(0, separator).toLowerCase()) {
    case 'unix':
      return { scheme: 'unix', path: absolutePath(rest, text) };
    case 'file':
      return { scheme: 'file', path: absolutePath(rest, text) };
    case 'tcp':
      return tcpUrl(rest, text);
    case 'inode':
      return inodeUrl(rest, text);
    case 'nats':
      return natsUrl(rest, text);
    default:
      throw badUrl(text, 'scheme unix, tcp, inode, file, nats or memory, or a bare host:port');
  }
}

export function formatUrl(url: ComponentUrl): string {
  switch (url.scheme) {
    case 'unix':
    case 'file':
      return `${url.scheme}://${url.path}`;
    case 'tcp':
      return `tcp://${url.host.includes(':') ? `[${url.host}]` : url.host}:${url.port}`;
    case 'inode':
      return `inode://${url.dev}/${url.ino}`;
    case 'nats':
      return `nats://${url.domain}/${url.node}/${url.component}`;
    case 'memory':
      return `memory:${url.name}`;
  }
}

function absolutePath(path: string, text: string): string {
  if (path.startsWith('/') && path.length > 1) return path;
  throw badUrl(text, 'an absolute path behind "://", for example unix:///run/nsm.sock');
}

function tcpUrl(authority: string, text: string): ComponentUrl {
  const trimmed = authority.endsWith('/') ? authority.slice(0, -1) : authority;
  const parts = /^(\[[0-9a-fA-F:.]+\]|[^[\]:/?#@]*):(\d{1,5})$/.exec(trimmed);
  const port = Number(parts?.[2] ?? -1);
  if (parts === null || port > 65_535) {
    throw badUrl(text, 'host:port with a port of 0 to 65535 (IPv6 in brackets)');
  }
  const host = parts[1] ?? '';
  return { scheme: 'tcp', host: host.startsWith('[') ? host.slice(1, -1) : host, port };
}

const decimal64Max = 0xffff_ffff_ffff_ffffn;

function inodeUrl(rest: string, text: string): ComponentUrl {
  const parts = /^(\d{1,20})\/(\d{1,20})$/.exec(rest);
  const dev = BigInt(parts?.[1] ?? -1);
  const ino = BigInt(parts?.[2] ?? -1);
  if (parts === null || dev > decimal64Max || ino > decimal64Max) {
    throw badUrl(text, 'inode://<dev>/<ino>, both decimal and of at most 64 bits');
  }
  return { scheme: 'inode', dev, ino };
}

function natsUrl(rest: string, text: string): ComponentUrl {
  const [domain, node, component, ...more] = rest.split('/');
  const isComplete = domain && node && component && more.length === 0;
  if (!isComplete) throw badUrl(text, 'nats://<domain>/<node>/<component>');
  return { scheme: 'nats', domain, node, component };
}

function memoryUrl(text: string): ComponentUrl {
  const name = text.slice('memory:'.length);
  if (name === '') throw badUrl(text, 'memory:<name>');
  return { scheme: 'memory', name };
}

function badUrl(text: string, expected: string, found = text.slice(0, 200)): NsmError {
  return new NsmError('INVALID_ARGUMENT', 'the URL cannot be used', {
    rule: 'url',
    expected,
    found: JSON.stringify(found),
  });
}
