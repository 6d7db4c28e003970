// VNIs that this forwarder has agreed on. A VNI is unique per UDP port on the node (the kernel's rule, stricter
// than NSM's), so one table serves all peers. What other forwarders of the node hold the data plane refuses.

import { NsmError } from '../../protocols/errors.ts';

export interface VniTable {
  /** Takes `vni` for this connection; ALREADY_EXISTS with rule `vni` where another one holds it. */
  take(connectionId: string, vni: number): void;
  isTaken(vni: number): boolean;
  of(connectionId: string): number | undefined;
  release(connectionId: string): void;
}

export function createVniTable(): VniTable {
  const holders = new Map<number, string>();
  const vnis = new Map<string, number>();

  const take = (connectionId: string, vni: number): void => {
    const holder = holders.get(vni);
    if (holder !== undefined && holder !== connectionId) {
      throw new NsmError('ALREADY_EXISTS', `VNI ${vni} is taken on this node`, {
        rule: 'vni',
        found: `held by connection ${holder}`,
        expected: 'a VNI that no wire of this node uses',
        remedy: 'leave the VNI out, so that this side draws one',
        connectionId,
      });
    }
    const before = vnis.get(connectionId);
    if (before !== undefined && before !== vni) holders.delete(before);
    holders.set(vni, connectionId);
    vnis.set(connectionId, vni);
  };

  return {
    take,
    isTaken: (vni) => holders.has(vni),
    of: (connectionId) => vnis.get(connectionId),
    release(connectionId) {
      const vni = vnis.get(connectionId);
      if (vni === undefined) return;
      vnis.delete(connectionId);
      holders.delete(vni);
    },
  };
}
