// What a VPP in memory has for VLANs: pipes, and bridge domains, which a member leaves when it goes and which go only when
// they are empty. As in the real one an interface that is put into one loses the rewriting of tags.

import { vppRefusal } from '../../protocols/vpp/return-codes.ts';
import type { VppFields } from '../../protocols/vpp/values.ts';

interface BridgedInterface {
  readonly index: number;
  readonly name: string;
  vlanRewrite?: number;
}

export interface BridgeSetup {
  readonly log: string[];
  add(made: { readonly name: string; readonly branch?: VppFields }): VppFields;
  remove(index: VppFields[string]): VppFields;
  interfaces(): readonly BridgedInterface[];
}

interface Domain {
  readonly tag: string;
  /** By identity: numbers are given again. */
  readonly members: Set<BridgedInterface>;
}

const codes = { inUse: -120, noEntry: -6, taken: -31 };

export class FakeBridges {
  readonly #setup: BridgeSetup;
  readonly #domains = new Map<number, Domain>();
  /** By instance. */
  readonly #pipes = new Map<
    number,
    { readonly parent: number; readonly sides: readonly number[] }
  >();

  constructor(setup: BridgeSetup) {
    this.#setup = setup;
  }

  clear(): void {
    this.#domains.clear();
    this.#pipes.clear();
  }

  readonly handlers: Readonly<Record<string, (fields: VppFields) => VppFields>> = {
    pipe_create: ({ user_instance }) => {
      const instance = Number(user_instance);
      this.#setup.log.push(`create pipe${instance}`);
      if (this.#pipes.has(instance)) throw vppRefusal('create', codes.taken);
      const name = `pipe${instance}`;
      const parent = Number(this.#setup.add({ name })['sw_if_index']);
      const sides = [0, 1].map((sub_id) => {
        const branch = { sw_if_index: parent, sub_id, outer_vlan_id: 0, inner_vlan_id: 0 };
        return Number(this.#setup.add({ name: `${name}.${sub_id}`, branch })['sw_if_index']);
      });
      this.#pipes.set(instance, { parent, sides });
      return { sw_if_index: parent, pipe_sw_if_index: sides };
    },
    pipe_delete: ({ sw_if_index }) => {
      for (const [instance, { parent }] of this.#pipes) {
        if (parent === Number(sw_if_index)) this.#pipes.delete(instance);
      }
      return this.#setup.remove(sw_if_index);
    },
    bridge_domain_add_del_v2: ({ bd_id, bd_tag, is_add }) => {
      if (is_add === true) {
        let id = 1;
        while (this.#domains.has(id)) id++;
        this.#domains.set(id, {
          tag: typeof bd_tag === 'string' ? bd_tag : '',
          members: new Set(),
        });
        return { bd_id: id };
      }
      const id = Number(bd_id);
      if (!this.#domains.has(id)) throw vppRefusal('delete', codes.noEntry);
      if (this.#membersOf(id).length > 0) throw vppRefusal('delete', codes.inUse);
      this.#domains.delete(id);
      return { bd_id: id };
    },
    sw_interface_set_l2_bridge: ({ rx_sw_if_index, bd_id, enable }) => {
      const found = this.#setup.interfaces().find(({ index }) => index === Number(rx_sw_if_index));
      const domain = this.#domains.get(Number(bd_id));
      if (found === undefined || domain === undefined) throw vppRefusal('join', codes.noEntry);
      for (const { members } of this.#domains.values()) members.delete(found);
      delete found.vlanRewrite;
      if (enable === true) domain.members.add(found);
      this.#setup.log.push(`bridge ${found.name}`);
      return {};
    },
  };

  details(name: string): readonly VppFields[] | undefined {
    switch (name) {
      case 'pipe_dump':
        return [...this.#pipes].map(([instance, { parent, sides }]) => ({
          sw_if_index: parent,
          pipe_sw_if_index: sides,
          instance,
        }));
      case 'bridge_domain_dump':
        return [...this.#domains].map(([bd_id, { tag }]) => ({
          bd_id,
          bd_tag: tag,
          sw_if_details: this.#membersOf(bd_id).map(({ index }) => ({ sw_if_index: index })),
        }));
      default:
        return undefined;
    }
  }

  #membersOf(id: number): BridgedInterface[] {
    const there = new Set(this.#setup.interfaces());
    return [...(this.#domains.get(id)?.members ?? [])].filter((each) => there.has(each));
  }
}
