// The URLs under which gRPC peers are reached (reference forms: `unix:///path`, `tcp://host:port`, bare `host:port`)
// and the rule for plaintext: until mutual TLS is in place a connection without it is made only when asked for, and
// only where nobody else can listen.

import { BlockList, isIP } from 'node:net';
import { networkInterfaces } from 'node:os';
import { NsmError } from '../../protocols/errors.ts';

export type GrpcAddress =
  | { readonly kind: 'unix'; readonly path: string }
  /** An empty host means every address of this machine. */
  | { readonly kind: 'tcp'; readonly host: string; readonly port: number };

/** Bytes of a socket's path: sun_path of linux/un.h has 108, the last one is the end mark. */
const socketPathBytesMax = 107;

/** Errors: INVALID_ARGUMENT naming the expected forms. */
export function parseGrpcUrl(url: string): GrpcAddress {
  const path = /^unix:(?:\/\/)?(\/(?!\/)[^\0]+)$/.exec(url)?.[1];
  if (path !== undefined) return unixAddress(path);
  const match = /^(?:tcp:\/\/)?(?:\[([0-9A-Fa-f:.%\w]+)\]|([^\s:/[\]@?#]*)):(\d{1,5})\/?$/.exec(
    url,
  );
  const port = Number(match?.[3]);
  const host = match?.[1] ?? match?.[2] ?? '';
  if (match === null || port > 65_535 || (host === '' && !url.startsWith('tcp://'))) {
    throw new NsmError('INVALID_ARGUMENT', 'not the URL of a gRPC peer', {
      rule: 'grpc-url',
      expected: 'unix:///path, tcp://host:port or host:port',
      found: JSON.stringify(url.slice(0, 200)),
    });
  }
  return { kind: 'tcp', host, port };
}

function unixAddress(path: string): GrpcAddress {
  const bytes = Buffer.byteLength(path);
  if (bytes > socketPathBytesMax) {
    throw new NsmError('INVALID_ARGUMENT', 'the path of the socket is too long', {
      rule: 'socket-path',
      expected: `at most ${socketPathBytesMax} bytes`,
      found: `${bytes} bytes: ${path}`,
      remedy: 'choose a shorter folder',
    });
  }
  return { kind: 'unix', path };
}

/** As grpc-js wants a target to dial. */
export function grpcTarget(address: GrpcAddress): string {
  if (address.kind === 'unix') return `unix:${address.path}`;
  const family = isIP(address.host);
  if (family === 6) return `ipv6:[${address.host}]:${address.port}`;
  return family === 4
    ? `ipv4:${address.host}:${address.port}`
    : `dns:${address.host}:${address.port}`;
}

export function tcpUrl(host: string, port: number): string {
  return isIP(host) === 6 ? `tcp://[${host}]:${port}` : `tcp://${host}:${port}`;
}

/** What a listener on every address is published as: first non-loopback IPv4 address, else global IPv6. */
export function publishedHost(): string {
  const all = Object.values(networkInterfaces()).flatMap((addresses) => addresses ?? []);
  const outer = all.filter((address) => !address.internal);
  const found =
    outer.find((address) => address.family === 'IPv4') ??
    outer.find((address) => address.family === 'IPv6' && /^[23]/.test(address.address));
  return found?.address ?? '127.0.0.1';
}

export interface PlaintextOptions {
  /** Says that connections without TLS are wanted. */
  readonly insecure?: boolean;
  /** CIDR networks besides loopback that plaintext may cross. */
  readonly plaintextNetworks?: readonly string[];
}

/** Throws where the address may not be used in plaintext. */
export type PlaintextPolicy = (address: GrpcAddress) => void;

/** Errors: INVALID_ARGUMENT for a network that is none. */
export function createPlaintextPolicy(options: PlaintextOptions): PlaintextPolicy {
  const allowed = new BlockList();
  allowed.addSubnet('127.0.0.0', 8, 'ipv4');
  allowed.addAddress('::1', 'ipv6');
  const everywhere = new Set<string>();
  for (const network of options.plaintextNetworks ?? []) {
    addNetwork(allowed, network);
    if (network.endsWith('/0')) everywhere.add(network.includes(':') ? 'ipv6' : 'ipv4');
  }
  return (address) => {
    if (options.insecure !== true)
      throw plaintextRefused(address, 'insecure: true', 'no such flag');
    if (address.kind === 'unix' || address.host === 'localhost') return;
    const family = isIP(address.host);
    // A name may mean any address, and an empty host means all of them.
    const isAllowed =
      family === 0 || address.host === '0.0.0.0' || address.host === '::'
        ? everywhere.size === 2 || (address.host === '0.0.0.0' && everywhere.has('ipv4'))
        : allowed.check(address.host, family === 4 ? 'ipv4' : 'ipv6');
    if (!isAllowed) {
      throw plaintextRefused(
        address,
        'a unix socket, a loopback address or one of plaintextNetworks',
        address.host === '' ? 'every address of this machine' : address.host,
      );
    }
  };
}

function addNetwork(list: BlockList, network: string): void {
  const [address = '', bits = ''] = network.split('/');
  const family = isIP(address);
  try {
    if (!/^\d{1,3}$/.test(bits)) throw new Error('no prefix length');
    list.addSubnet(address, Number(bits), family === 6 ? 'ipv6' : 'ipv4');
  } catch (cause) {
    throw new NsmError('INVALID_ARGUMENT', 'not a network', {
      rule: 'plaintext-networks',
      expected: 'a CIDR such as 10.0.0.0/8',
      found: JSON.stringify(network.slice(0, 80)),
      cause,
    });
  }
}

function plaintextRefused(address: GrpcAddress, expected: string, found: string): NsmError {
  const where = address.kind === 'unix' ? address.path : `${address.host}:${address.port}`;
  return new NsmError('FAILED_PRECONDITION', `plaintext gRPC is not allowed at ${where}`, {
    rule: 'plaintext',
    expected,
    found,
    remedy: 'use a unix socket or loopback with insecure: true, or name the network',
  });
}
