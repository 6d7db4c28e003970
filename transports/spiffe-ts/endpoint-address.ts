// Where the Workload API is: the value of SPIFFE_ENDPOINT_SOCKET (Workload Endpoint specification section 4).

import { isIP } from 'node:net';
import { NsmError } from '../../protocols/errors.ts';

/** The standard variable; who reads the environment passes its value on. */
export const endpointVariable = 'SPIFFE_ENDPOINT_SOCKET';

export type WorkloadEndpoint =
  | { readonly kind: 'unix'; readonly path: string }
  | { readonly kind: 'tcp'; readonly host: string; readonly port: number };

/** Bytes of sun_path in struct sockaddr_un (linux/un.h), less the closing zero. */
const socketPathMax = 107;

/** `unix:///absolute/path` or `tcp://<IP address>:<port>`, nothing else. Errors: INVALID_ARGUMENT. */
export function parseEndpoint(url: string): WorkloadEndpoint {
  const unix = /^unix:\/\/(\/[^?#%\0]*[^/?#%\0])$/.exec(url);
  if (unix?.[1] !== undefined && Buffer.byteLength(unix[1]) <= socketPathMax) {
    return { kind: 'unix', path: unix[1] };
  }
  const tcp = /^tcp:\/\/(?:\[([0-9a-fA-F:.]+)\]|([0-9.]+)):(\d{1,5})$/.exec(url);
  const host = tcp?.[1] ?? tcp?.[2] ?? '';
  const port = Number(tcp?.[3]);
  if (isIP(host) === (tcp?.[1] === undefined ? 4 : 6) && port <= 65_535) {
    return { kind: 'tcp', host, port };
  }
  throw new NsmError('INVALID_ARGUMENT', 'not the address of a Workload API', {
    rule: endpointVariable,
    expected: `unix:///absolute/path of at most ${socketPathMax} bytes, or tcp://<IP>:<port>`,
    found: JSON.stringify(url.slice(0, 200)),
  });
}

export function grpcTarget(endpoint: WorkloadEndpoint): string {
  if (endpoint.kind === 'unix') return `unix:${endpoint.path}`;
  return isIP(endpoint.host) === 6
    ? `ipv6:[${endpoint.host}]:${endpoint.port}`
    : `ipv4:${endpoint.host}:${endpoint.port}`;
}
