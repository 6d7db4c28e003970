// UDP ports on which this forwarder's WireGuard tunnels listen: each has its own. VPP 26.10 finds the tunnel that a
// handshake is for by its port, and where several share one it may forget the wrong one when one of them goes
// (wg_if_delete in src/plugins/wireguard/wireguard_if.c), which then ends with its session, after three minutes.
// Invariants: a key keeps its port until its connection is released; a connection holds few.

import { NsmError } from '../../protocols/errors.ts';
import { hashText } from '../../protocols/nsm/derived-mac.ts';
import type { PortRange } from '../../protocols/ports/dataplane.ts';

export interface TunnelPorts {
  /** The port of the tunnel with that key, drawn where it has none yet. Errors: RESOURCE_EXHAUSTED. */
  of(connectionId: string, keyName: string): number;
  /** As agreed on in an earlier life. */
  take(connectionId: string, keyName: string, port: number): void;
  /** Nobody wanted a tunnel with that key. */
  drop(connectionId: string, keyName: string): void;
  release(connectionId: string): void;
}

/** Towards the client, towards an Endpoint and the one before; the oldest goes. */
const perConnectionMax = 4;
const portSeed = 0x706f;
/** Above what Linux gives to sockets that ask for no port of their own. */
const portsDefault: PortRange = { first: 61_000, last: 65_535 };

export function createTunnelPorts(range: PortRange = portsDefault): TunnelPorts {
  const ports = new Map<string, Map<string, number>>();
  /** How many keys have each: an earlier life may have given one to several. */
  const uses = new Map<number, number>();

  const use = (port: number, change: 1 | -1): void => {
    const count = (uses.get(port) ?? 0) + change;
    if (count > 0) uses.set(port, count);
    else uses.delete(port);
  };

  const drop = (connectionId: string, keyName: string): void => {
    const own = ports.get(connectionId);
    const port = own?.get(keyName);
    if (own === undefined || port === undefined) return;
    use(port, -1);
    own.delete(keyName);
    if (own.size === 0) ports.delete(connectionId);
  };

  const take = (connectionId: string, keyName: string, port: number): void => {
    drop(connectionId, keyName);
    const own = ports.get(connectionId) ?? new Map<string, number>();
    ports.set(connectionId, own.set(keyName, port));
    use(port, 1);
    const [oldest] = own.keys();
    if (own.size > perConnectionMax && oldest !== undefined) drop(connectionId, oldest);
  };

  /** Begins where the key says, so that the next life is likely to draw the same. */
  const draw = (keyName: string): number | undefined => {
    const { first, last } = range;
    const count = last - first + 1;
    const start = hashText(keyName, portSeed).low % count;
    for (let step = 0; step < count; step++) {
      const port = first + ((start + step) % count);
      if (!uses.has(port)) return port;
    }
    return undefined;
  };

  return {
    take,
    drop,
    of(connectionId, keyName) {
      const known = ports.get(connectionId)?.get(keyName);
      if (known !== undefined) return known;
      const drawn = draw(keyName);
      if (drawn === undefined) throw noneLeft(range, connectionId);
      take(connectionId, keyName, drawn);
      return drawn;
    },
    release(connectionId) {
      for (const port of ports.get(connectionId)?.values() ?? []) use(port, -1);
      ports.delete(connectionId);
    },
  };
}

function noneLeft({ first, last }: PortRange, connectionId: string): NsmError {
  return new NsmError('RESOURCE_EXHAUSTED', 'no UDP port is left for a WireGuard tunnel', {
    rule: 'VWIRE_WIREGUARD_PORTS',
    expected: `a port from ${first} to ${last} that no tunnel of this forwarder has`,
    found: 'none',
    remedy: 'give it more ports, or another mechanism first (NSM_MECHANISM_PRIORITY)',
    connectionId,
  });
}
