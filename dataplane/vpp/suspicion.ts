// Which wires are suspect by what is changed in VPP. It tells of interfaces that go or are set down, and of cross
// connects nothing: those are looked at once a second.

import type { Clock, Timer } from '../../protocols/ports/clock.ts';
import type { Budget } from '../../protocols/ports/dataplane.ts';
import type { Vpp } from '../../protocols/ports/vpp.ts';
import type { EndsEvent } from '../../protocols/ports/wire-ends.ts';
import type { SuspectWiresSetup } from '../../protocols/suspect-wires.ts';
import { SuspectWires } from '../../protocols/suspect-wires.ts';
import type { Inventory } from './inventory.ts';
import type { MemifWatch } from './memif-watch.ts';
import type { Trunks } from './trunks.ts';
import type { VlanSwitch } from './vlan-networks.ts';

export interface SuspicionSetup extends SuspectWiresSetup {
  readonly vpp: Vpp;
  readonly clock: Clock;
  readonly inventory: Inventory;
  readonly trunks: Pick<Trunks, 'mend'>;
  readonly vlans: Pick<VlanSwitch, 'mend'>;
  readonly memifs: MemifWatch;
}

const lookAgainAfterMs = 1_000;
const lookBudget: Budget = { timeoutMs: 5_000 };

export class Suspicion extends SuspectWires {
  readonly #setup: SuspicionSetup;
  #timer: Timer | undefined;
  #stop: (() => void) | undefined;

  constructor(setup: SuspicionSetup) {
    super(setup);
    this.#setup = setup;
  }

  /** Returns at once; ends with `close`. */
  watch(): void {
    if (this.#stop !== undefined) return;
    const start = { enable_disable: 1, pid: 0 };
    const stop = { enable_disable: 0, pid: 0 };
    this.#stop = this.#setup.vpp.subscribe(
      { event: 'sw_interface_event', request: 'want_interface_events', start, stop },
      (event) => {
        if (event.kind !== 'event') return;
        this.#setup.memifs.changed(event.fields);
        this.#interfaceChanged(event.fields.sw_if_index);
      },
    );
    this.#lookLater();
  }

  close(): void {
    this.#timer?.cancel();
    this.#stop?.();
    this.#timer = this.#stop = undefined;
  }

  /** VPP may have lost all of these wires. */
  allBut(others: { has(id: string): boolean }): void {
    for (const id of this.known) if (!others.has(id)) this.suspect(id);
  }

  /** News of the kernel's part. */
  told(event: EndsEvent): void {
    if (event.kind === 'changed') this.suspect(event.wireId);
    else if (event.kind === 'damaged') this.tell(event.wireId, event);
    else this.#setup.publish(event);
  }

  /** A trunk is looked at once a second. */
  #interfaceChanged(index: number): void {
    const id = this.#setup.inventory.at(index)?.tag?.wireId;
    if (id !== undefined) this.changed(id);
  }

  #lookLater(): void {
    this.#timer = this.#setup.clock.after(lookAgainAfterMs, () => {
      void this.#lookAtJoints().then(() => {
        if (this.#stop !== undefined) this.#lookLater();
      });
    });
  }

  async #lookAtJoints(): Promise<void> {
    if (this.known.size === 0) return;
    const { inventory, trunks, vlans, memifs } = this.#setup;
    memifs.look();
    try {
      // What is not as it was made shows at the wires as well.
      await trunks.mend(lookBudget).catch(() => {});
      await vlans.mend(lookBudget).catch(() => {});
      const changed = await inventory.lookAtJoints(lookBudget);
      for (const index of changed) this.#interfaceChanged(index);
    } catch {
      // VPP is away; when it is back everything is looked at.
    }
  }
}
