// What a VPP in memory has for packets without Ethernet headers: WireGuard's interfaces and peers, and cross connects at
// layer 3. As the real one it keeps the latter when the interface goes, knows a peer's key once, and numbers of
// interfaces have 14 bits.

import { NsmError } from '../../protocols/errors.ts';
import { allOnes, wireguardPeerFlags } from '../../protocols/vpp/messages/enums.ts';
import { vppRefusal } from '../../protocols/vpp/return-codes.ts';
import type { VppFields } from '../../protocols/vpp/values.ts';

export interface PacketInterface {
  readonly index: number;
  readonly wireguard?: VppFields;
}

export interface PacketSetup {
  readonly log: string[];
  add(made: { readonly name: string; readonly wireguard: VppFields }): VppFields;
  remove(index: VppFields[string]): VppFields;
  interfaces(): readonly PacketInterface[];
}

const codes = { none: -7, exists: -116, noEntry: -6, taken: -31 };
const instanceCount = 16_384;
const publicKeyBytes = 32;

export class FakePackets {
  readonly #setup: PacketSetup;
  readonly #crossConnects = new Map<string, VppFields>();
  readonly #peers = new Map<number, VppFields>();
  #nextPeer = 0;

  constructor(setup: PacketSetup) {
    this.#setup = setup;
  }

  clear(): void {
    this.#crossConnects.clear();
    this.#peers.clear();
  }

  readonly handlers: Readonly<Record<string, (fields: VppFields) => VppFields>> = {
    wireguard_interface_create: ({ interface: given }) => {
      const fields = given as VppFields;
      const instance = Number(fields['user_instance']);
      const isTaken = this.#setup
        .interfaces()
        .some(({ wireguard }) => wireguard?.['user_instance'] === instance);
      if (isTaken || instance >= instanceCount) throw vppRefusal('create', codes.taken);
      this.#setup.log.push(`create wg on ${Number(fields['port'])}`);
      const wireguard = { ...fields, public_key: publicKeyOf(fields['private_key']) };
      return this.#setup.add({ name: `wg${instance}`, wireguard });
    },
    wireguard_interface_delete: ({ sw_if_index }) => {
      for (const [index, peer] of this.#peers) {
        if (peer['sw_if_index'] === sw_if_index) this.#peers.delete(index);
      }
      return this.#setup.remove(sw_if_index);
    },
    wireguard_peer_add: ({ peer: given }) => {
      const peer = given as VppFields;
      const isKnown = [...this.#peers.values()].some((each) => hasSameKey(each, peer));
      if (isKnown) throw vppRefusal('add', codes.exists);
      const index = this.#nextPeer++;
      this.#setup.log.push(`peer at ${Number(peer['port'])}`);
      this.#peers.set(index, {
        ...peer,
        peer_index: index,
        flags: wireguardPeerFlags.established,
      });
      return { peer_index: index };
    },
    wireguard_peer_remove: ({ peer_index }) => {
      if (!this.#peers.delete(Number(peer_index))) throw vppRefusal('remove', codes.noEntry);
      return {};
    },
    l3xc_update: ({ l3xc: given }) => {
      const l3xc = given as VppFields;
      this.#crossConnects.set(keyOf(l3xc), l3xc);
      return { stats_index: 0 };
    },
    l3xc_del: (fields) => {
      if (!this.#crossConnects.delete(keyOf(fields))) throw vppRefusal('delete', codes.none);
      return {};
    },
    ip_table_add_del: () => ({}),
    ip_neighbor_add_del: () => ({ stats_index: 0 }),
    ip_route_add_del: () => ({ stats_index: 0 }),
    sw_interface_set_table: () => ({}),
    sw_interface_set_unnumbered: () => ({}),
    sw_interface_add_del_mac_address: () => ({}),
  };

  /** Undefined for a dump that is none of these. */
  details(name: string, wanted: VppFields): readonly VppFields[] | undefined {
    switch (name) {
      case 'wireguard_interface_dump':
        return this.#setup
          .interfaces()
          .flatMap(({ index, wireguard }) =>
            wireguard === undefined ? [] : [{ interface: { ...wireguard, sw_if_index: index } }],
          );
      case 'wireguard_peers_dump':
        return [...this.#peers.values()]
          .filter((peer) => [allOnes, peer['peer_index']].includes(Number(wanted['peer_index'])))
          .map((peer) => ({ peer }));
      case 'l3xc_dump':
        return [...this.#crossConnects.values()].map((l3xc) => ({ l3xc }));
      default:
        return undefined;
    }
  }
}

const keyOf = (fields: VppFields): string =>
  `${Number(fields['sw_if_index'])} ${Boolean(fields['is_ip6'])}`;

function hasSameKey(one: VppFields, other: VppFields): boolean {
  const [first, second] = [one['public_key'], other['public_key']];
  if (!(first instanceof Uint8Array) || !(second instanceof Uint8Array)) return false;
  return Buffer.from(first).equals(second);
}

/** The driver's tests give private keys that are public ones. */
function publicKeyOf(privateKey: VppFields[string]): Uint8Array {
  if (privateKey instanceof Uint8Array && privateKey.length === publicKeyBytes) return privateKey;
  throw new NsmError('INVALID_ARGUMENT', 'a private key has 32 bytes');
}
