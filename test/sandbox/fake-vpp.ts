// A VPP in memory with as much of its behaviour as the driver depends on: numbers that are given again, a cross connect
// that goes with either interface and takes the rewriting of tags with it, sub-interfaces that go with their interface, one
// tunnel of a key, everything lost with a restart. What the real one does is tested by the contract suite over it.

import { NsmError } from '../../protocols/errors.ts';
import type {
  Vpp,
  VppEvent,
  VppStatistics,
  VppSubscriptionEvent,
} from '../../protocols/ports/vpp.ts';
import { allOnes, interfaceFlags, memifMode } from '../../protocols/vpp/messages/enums.ts';
import { vppRefusal } from '../../protocols/vpp/return-codes.ts';
import type { VppFields } from '../../protocols/vpp/values.ts';
import { vppPrefix } from '../../protocols/vpp/vpp-address.ts';
import { FakeBridges } from './fake-vpp-bridges.ts';
import { FakeIke } from './fake-vpp-ike.ts';
import { FakePackets } from './fake-vpp-packets.ts';

export interface FakeVpp extends Vpp {
  /** Requests that changed something, in order: name and the fields that tell which object. */
  readonly log: readonly string[];
  /** Ends it: calls fail until `start`. */
  kill(): void;
  start(): void;
  /** As where the workload at the other end of a memif comes or ends. */
  setLink(index: number, isUp: boolean): void;
  /** As a person with vppctl. */
  change(name: string, fields: VppFields): VppFields;
}

interface Interface {
  readonly index: number;
  readonly name: string;
  readonly host?: string;
  readonly tunnel?: VppFields;
  readonly memif?: VppFields;
  readonly wireguard?: VppFields;
  readonly ipsec?: VppFields;
  readonly branch?: VppFields;
  readonly macAddress?: VppFields[string];
  /** Told by whoever made it. */
  readonly addresses?: readonly string[];
  tag: string;
  isUp: boolean;
  isLinkUp?: boolean;
  joint?: number;
  vlanRewrite?: number;
}

const codes = {
  exists: -79,
  vlanExists: -56,
  tunnelExists: -75,
  sameAddress: -82,
  noEntry: -6,
  systemCall: -11,
  noInterface: -71,
};
const invalidIndex = -2;

export const noStatistics: VppStatistics = {
  read: async () => new Map(),
  names: async () => [],
  reopen: () => {},
  close: () => {},
};

export function createFakeVpp(): FakeVpp {
  return new Fake();
}

class Fake implements FakeVpp {
  readonly log: string[] = [];
  readonly #interfaces = new Map<number, Interface>();
  /** Names of memif sockets by number. */
  readonly #sockets = new Map<number, string>();
  readonly #parts = {
    log: this.log,
    add: (made: Partial<Interface> & { readonly name: string }) => this.#add(made),
    remove: (index: VppFields[string]) => this.#remove(this.#at(index)),
    setUp: (index: number, isUp: boolean) => this.#setUp(this.#at(index), isUp),
    interfaces: () => [...this.#interfaces.values()],
  };
  readonly #packets = new FakePackets(this.#parts);
  readonly #ike = new FakeIke(this.#parts);
  readonly #bridges = new FakeBridges(this.#parts);
  readonly #listeners = new Set<(event: VppEvent) => void>();
  readonly #subscribers = new Set<(event: VppSubscriptionEvent<string>) => void>();
  #pid = 1;
  #runs = true;

  kill(): void {
    this.#runs = false;
    this.#interfaces.clear();
    this.#sockets.clear();
    this.#packets.clear();
    this.#ike.clear();
    this.#bridges.clear();
    const error = away();
    for (const listener of this.#listeners) listener({ kind: 'lost', error });
  }

  start(): void {
    this.#runs = true;
    this.#pid++;
    for (const listener of this.#listeners) {
      listener({ kind: 'connected', pid: this.#pid, messageCount: 1 });
    }
  }

  setLink(index: number, isUp: boolean): void {
    this.#at(index).isLinkUp = isUp;
    this.#tell(index, false);
  }

  change(name: string, fields: VppFields): VppFields {
    return this.#change(name, fields);
  }

  request: Vpp['request'] = async (name, fields) => {
    await this.#turn();
    return this.#change(name, fields) as never;
  };

  read: Vpp['read'] = this.request;

  dump: Vpp['dump'] = async (name, fields) => {
    await this.#turn();
    return this.#details(name, fields) as never;
  };

  stream: Vpp['stream'] = () => Promise.reject(away());
  unusable: Vpp['unusable'] = async () => new Map();

  subscribe: Vpp['subscribe'] = (_, listener) => {
    this.#subscribers.add(listener as never);
    return () => void this.#subscribers.delete(listener as never);
  };

  watch: Vpp['watch'] = (listener) => {
    this.#listeners.add(listener);
    return () => void this.#listeners.delete(listener);
  };

  close = async (): Promise<void> => {};

  /** Calls are taken in the order in which they were made. */
  async #turn(): Promise<void> {
    await Promise.resolve();
    if (!this.#runs) throw away();
  }

  #change(name: string, fields: VppFields): VppFields {
    const parts = [this.#packets, this.#ike, this.#bridges];
    const handler =
      this.#handlers[name] ?? parts.map(({ handlers }) => handlers[name]).find((each) => each);
    if (handler === undefined) return unknown(name);
    return handler(fields);
  }

  readonly #handlers: Readonly<Record<string, (fields: VppFields) => VppFields>> = {
    af_packet_create_v3: (fields) => {
      const host = textIn(fields, 'host_if_name');
      if (host.includes('/')) throw refusal('create', codes.noInterface);
      this.log.push(`create host-${host}`);
      if (this.#find((each) => each.host === host)) throw refusal('create', codes.exists);
      return this.#add({ name: `host-${host}`, host, macAddress: fields['hw_addr'] });
    },
    af_packet_delete: ({ host_if_name: host }) => {
      const found = this.#find((each) => each.host === host);
      if (found === undefined) throw refusal('delete', codes.systemCall);
      return this.#remove(found);
    },
    vxlan_add_del_tunnel_v3: (fields) => {
      const key = keyOf(fields);
      const found = this.#find(({ tunnel }) => tunnel !== undefined && keyOf(tunnel) === key);
      if (fields['is_add'] !== true) {
        if (found === undefined) throw refusal('delete', codes.noEntry);
        return this.#remove(found);
      }
      this.log.push(`create tunnel ${Number(fields['vni'])}`);
      if (found !== undefined) throw refusal('create', codes.tunnelExists);
      const [from, to] = [addressIn(fields, 'src_address'), addressIn(fields, 'dst_address')];
      if (from.join('.') === to.join('.')) {
        throw refusal('create', codes.sameAddress);
      }
      const name = `vxlan_tunnel${Number(fields['instance'])}`;
      return this.#add({ name, tunnel: fields, isUp: true });
    },
    memif_socket_filename_add_del_v2: (fields) => {
      if (fields['is_add'] !== true) {
        const id = Number(fields['socket_id']);
        const isUsed = this.#find(({ memif }) => memif?.['socket_id'] === id) !== undefined;
        if (isUsed || !this.#sockets.delete(id)) throw refusal('delete', codes.noEntry);
        return {};
      }
      let id = Number(fields['socket_id'] ?? allOnes);
      if (id === allOnes) id = 1;
      while (this.#sockets.has(id)) id++;
      this.#sockets.set(id, textIn(fields, 'socket_filename'));
      return { socket_id: id };
    },
    memif_create_v2: (fields) => {
      const name = `memif${Number(fields['socket_id'])}/${Number(fields['id'])}`;
      this.log.push(`create ${name}`);
      if (this.#find((each) => each.name === name)) throw refusal('create', codes.exists);
      const hasAddress = fields['mode'] === memifMode.ethernet;
      const address = hasAddress ? { macAddress: fields['hw_addr'] } : {};
      return this.#add({ name, memif: fields, ...address });
    },
    memif_delete: ({ sw_if_index }) => this.#remove(this.#at(sw_if_index)),
    create_subif: (fields) => {
      const parent = this.#at(fields['sw_if_index']);
      const name = `${parent.name}.${Number(fields['sub_id'])}`;
      this.log.push(`create ${name}`);
      const isSame = ({ branch }: Interface): boolean =>
        branch !== undefined && tagsOf(branch) === tagsOf(fields);
      if (this.#find((each) => each.name === name || isSame(each))) {
        throw refusal('create', codes.vlanExists);
      }
      return this.#add({ name, branch: fields });
    },
    delete_subif: ({ sw_if_index }) => this.#remove(this.#at(sw_if_index)),
    l2_interface_vlan_tag_rewrite: ({ sw_if_index, vtr_op }) => {
      this.#at(sw_if_index).vlanRewrite = Number(vtr_op);
      return {};
    },
    create_loopback: () => this.#add({ name: 'loop0' }),
    /** As whoever runs VPP. */
    test_give_address: (fields) =>
      this.#add({ name: 'uplink', tag: 'theirs', addresses: [textIn(fields, 'address')] }),
    sw_interface_tag_add_del: (fields) => {
      const found = this.#at(fields['sw_if_index']);
      this.log.push(`tag ${found.name}`);
      found.tag = textIn(fields, 'tag');
      return {};
    },
    sw_interface_set_flags: ({ sw_if_index, flags }) => {
      this.#setUp(this.#at(sw_if_index), (Number(flags) & interfaceFlags.adminUp) !== 0);
      return {};
    },
    sw_interface_set_l2_xconnect: ({ rx_sw_if_index, tx_sw_if_index, enable }) => {
      const from = this.#at(rx_sw_if_index);
      if (enable !== true) {
        unjoin(from);
        return {};
      }
      const to = this.#at(tx_sw_if_index);
      from.joint = to.index;
      this.log.push(`join ${from.name} to ${to.name}`);
      return {};
    },
  };

  #details(name: string, fields: VppFields): readonly VppFields[] {
    const wanted = Number(fields['sw_if_index'] ?? allOnes);
    const found = [...this.#interfaces.values()].filter(
      ({ index }) => wanted === allOnes || wanted === index,
    );
    switch (name) {
      case 'sw_interface_dump':
        return found.map(({ index, name: interface_name, tag, isUp, macAddress, ...rest }) => ({
          sw_if_index: index,
          sup_sw_if_index: Number(rest.branch?.['sw_if_index'] ?? index),
          sub_id: Number(rest.branch?.['sub_id'] ?? 0),
          sub_outer_vlan_id: Number(rest.branch?.['outer_vlan_id'] ?? 0),
          sub_inner_vlan_id: Number(rest.branch?.['inner_vlan_id'] ?? 0),
          vtr_op: rest.vlanRewrite ?? 0,
          interface_name,
          tag,
          l2_address: macAddress ?? new Uint8Array(6),
          flags: flagsOf({ isUp, ...rest }),
        }));
      case 'vxlan_tunnel_v2_dump':
        return found.flatMap(({ index, tunnel }) =>
          tunnel === undefined ? [] : [{ ...tunnel, sw_if_index: index }],
        );
      case 'memif_dump':
        return found.flatMap(({ index, memif }) =>
          memif === undefined ? [] : [{ ...memif, sw_if_index: index }],
        );
      case 'memif_socket_filename_dump':
        return [...this.#sockets].map(([socket_id, socket_filename]) => ({
          socket_id,
          socket_filename,
        }));
      case 'ip_address_dump':
        return found.flatMap(({ index, addresses = [] }) =>
          addresses.map((address) => ({ sw_if_index: index, prefix: vppPrefix(address) })),
        );
      case 'l2_xconnect_dump':
        return found.flatMap(({ index, joint }) =>
          joint === undefined ? [] : [{ rx_sw_if_index: index, tx_sw_if_index: joint }],
        );
      default:
        return (
          this.#packets.details(name, fields) ??
          this.#ike.details(name, fields) ??
          this.#bridges.details(name) ??
          unknown(name)
        );
    }
  }

  #setUp(found: Interface, isUp: boolean): void {
    found.isUp = isUp;
    this.#tell(found.index, false);
  }

  #add(made: Partial<Interface> & { readonly name: string }): VppFields {
    let index = 1;
    while (this.#interfaces.has(index)) index++;
    this.#interfaces.set(index, { tag: '', isUp: false, ...made, index });
    return { sw_if_index: index };
  }

  #remove(found: Interface): VppFields {
    this.log.push(`delete ${found.name}`);
    // As l2_input_interface_add_del in VPP's src/vnet/l2/l2_input.c.
    const other = found.joint === undefined ? undefined : this.#interfaces.get(found.joint);
    if (other !== undefined) unjoin(other);
    this.#interfaces.delete(found.index);
    for (const each of this.#interfaces.values()) {
      if (each.branch?.['sw_if_index'] === found.index) this.#remove(each);
    }
    this.#tell(found.index, true);
    return {};
  }

  #tell(index: number, deleted: boolean): void {
    const found = this.#interfaces.get(index);
    const flags = found === undefined ? 0 : flagsOf(found);
    const fields = { pid: 0, sw_if_index: index, flags, deleted };
    for (const listener of this.#subscribers) {
      listener({ kind: 'event', name: 'sw_interface_event', fields });
    }
  }

  #at(index: VppFields[string]): Interface {
    const found = this.#interfaces.get(Number(index));
    if (found === undefined) throw refusal('change', invalidIndex);
    return found;
  }

  #find(isIt: (each: Interface) => boolean): Interface | undefined {
    return [...this.#interfaces.values()].find(isIt);
  }
}

function unknown(name: string): never {
  throw new Error(`the fake VPP knows no ${name}`);
}

const flagsOf = ({ isUp, isLinkUp }: Pick<Interface, 'isUp' | 'isLinkUp'>): number =>
  (isUp ? interfaceFlags.adminUp : 0) | (isLinkUp === true ? interfaceFlags.linkUp : 0);

/** As set_int_l2_mode in VPP's src/vnet/l2/l2_input.c. */
function unjoin(end: Interface): void {
  delete end.joint;
  delete end.vlanRewrite;
}

const tagsOf = (fields: VppFields): string =>
  ['sw_if_index', 'outer_vlan_id', 'inner_vlan_id'].map((name) => Number(fields[name])).join(' ');

function textIn(fields: VppFields, name: string): string {
  const value = fields[name];
  return typeof value === 'string' ? value : '';
}

const refusal = (what: string, retval: number): NsmError => vppRefusal(what, retval);

const away = (): NsmError => new NsmError('UNAVAILABLE', 'VPP is away, as planned');

function addressIn(fields: VppFields, name: string): Uint8Array {
  const { un } = fields[name] as { readonly un: Uint8Array };
  return un;
}

const keyOf = (fields: VppFields): string =>
  [
    addressIn(fields, 'src_address').join('.'),
    addressIn(fields, 'dst_address').join('.'),
    Number(fields['src_port']),
    Number(fields['vni']),
  ].join(' ');
