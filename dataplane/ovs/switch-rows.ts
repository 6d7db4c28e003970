// What the database says about this owner's bridge, kept up to date by a monitor: the bridge itself, the ports of its
// wires, its tunnels and who uses them, and which port numbers are taken.
// Invariants: rows are as of the last event; before the first, and while the server is away, nothing is answered.

import { NsmError } from '../../protocols/errors.ts';
import type { RowChange } from '../../protocols/ovs/ovsdb-rows.ts';
import type { OvsdbRow } from '../../protocols/ovs/ovsdb-values.ts';
import { entriesOf, numberOf, textOf } from '../../protocols/ovs/ovsdb-values.ts';
import type { Clock } from '../../protocols/ports/clock.ts';
import type { Budget } from '../../protocols/ports/dataplane.ts';
import type { Ovsdb, OvsdbEvent } from '../../protocols/ports/ovs.ts';
import type { ExternalIds, Owner, PortEnd, TunnelUse } from './tags.ts';
import { PortNumbers } from './port-numbers.ts';
import { isOwnedBy, readFarEndOf, readPortEnd, readTunnelUses } from './tags.ts';

/** One interface of this owner; its port has the same name. */
export interface PortRow {
  readonly uuid: string;
  readonly name: string;
  /** What flows call it; undefined where the switch has none (yet). */
  readonly number: number | undefined;
  readonly requested: number | undefined;
  readonly error: string | undefined;
  readonly type: string;
  readonly options: ReadonlyMap<string, unknown>;
  /** Set where it is the end of one wire. */
  readonly end: PortEnd | undefined;
  /** Of a tunnel. */
  readonly uses: readonly TunnelUse[];
  /** Set on another bridge: the wire whose patch leads there. */
  readonly farEndOf: string | undefined;
}

export interface BridgeRow {
  readonly uuid: string;
  readonly name: string;
  readonly ids: ExternalIds;
  readonly datapathType: string;
  readonly failMode: string | undefined;
}

/** What one wire has in the database. */
export interface WireRows {
  readonly ports: readonly PortRow[];
  readonly tunnels: readonly { readonly row: PortRow; readonly use: TunnelUse }[];
}

const monitored = [
  { table: 'Open_vSwitch', columns: ['cur_cfg'] },
  {
    table: 'Bridge',
    columns: ['name', 'external_ids', 'datapath_type', 'fail_mode'],
  },
  // A port that is taken off its bridge ends, and its interface with it.
  { table: 'Port', columns: ['name', 'tag'] },
  {
    table: 'Interface',
    columns: ['name', 'type', 'options', 'ofport', 'ofport_request', 'error', 'external_ids'],
  },
];

export interface SwitchRowsOptions {
  readonly database: Ovsdb;
  readonly clock: Clock;
  readonly owner: Owner;
  readonly bridge: string;
  /** Wires whose rows have changed. */
  readonly onChange: (wireIds: ReadonlySet<string>) => void;
}

export class SwitchRows {
  readonly #options: SwitchRowsOptions;
  readonly #ports = new Map<string, PortRow>();
  readonly #names = new Map<string, string>();
  readonly #byWire = new Map<string, Set<string>>();
  readonly #portIds = new Map<string, string>();
  readonly #portTags = new Map<string, number>();
  readonly #bridges = new Map<string, BridgeRow>();
  readonly #numbers = new PortNumbers();
  /** Numbers of interfaces that the database does not have yet. */
  readonly #opened = new Map<string, number>();
  readonly #waiting = new Set<() => void>();
  readonly #stop: () => void;
  #configuration = 0;
  #state: 'unknown' | 'known' = 'unknown';
  #lost: NsmError | undefined;

  constructor(options: SwitchRowsOptions) {
    this.#options = options;
    this.#stop = options.database.monitor(monitored, (event) => this.#onEvent(event));
  }

  close(): void {
    this.#stop();
  }

  /** Resolves once the rows are known. */
  ready(budget: Budget): Promise<void> {
    return this.until('the rows of the database', budget, () => this.#state === 'known');
  }

  /** Number of the configuration that the switch has applied. */
  get configuration(): number {
    return this.#configuration;
  }

  /** Whoever's it is; undefined where there is none of that name. */
  get bridge(): BridgeRow | undefined {
    return this.bridgeNamed(this.#options.bridge);
  }

  bridgeNamed(name: string): BridgeRow | undefined {
    for (const bridge of this.#bridges.values()) if (bridge.name === name) return bridge;
    return undefined;
  }

  portId(name: string): string | undefined {
    return this.#portIds.get(name);
  }

  /** The VLAN of an access port. */
  tagOf(name: string): number | undefined {
    return this.#portTags.get(name);
  }

  named(name: string): PortRow | undefined {
    return this.#ports.get(this.#names.get(name) ?? '');
  }

  of(wireId: string): WireRows {
    const rows = [...(this.#byWire.get(wireId) ?? [])].flatMap(
      (uuid) => this.#ports.get(uuid) ?? [],
    );
    return {
      ports: rows.filter(({ end }) => end?.wireId === wireId),
      tunnels: rows.flatMap((row) =>
        row.uses.filter((use) => use.wireId === wireId).map((use) => ({ row, use })),
      ),
    };
  }

  /** By name the numbers that the switch has given; the database hears of them later. */
  opened(ports: ReadonlyMap<string, number>): void {
    for (const [name, number] of ports) {
      const row = this.#ports.get(this.#names.get(name) ?? '');
      if (row === undefined || row.number !== undefined) continue;
      this.#opened.set(row.uuid, number);
      this.#ports.set(row.uuid, { ...row, number });
      this.#numbers.set(
        row.uuid,
        [number, row.requested].flatMap((each) => each ?? []),
      );
    }
    this.#lookAgain();
  }

  wireIds(): string[] {
    return [...this.#byWire.keys()];
  }

  /** As `PortNumbers.free`. */
  freeNumbers(count: number): number[] {
    return this.#numbers.free(count);
  }

  /** Resolves as soon as it holds; looked at after every event. Errors: DEADLINE_EXCEEDED, CANCELLED, UNAVAILABLE. */
  until(what: string, budget: Budget, holds: () => boolean): Promise<void> {
    const { timeoutMs, signal } = budget;
    // Most of the time it holds, and needs no timer.
    if (signal?.aborted !== true && holds()) return Promise.resolve();
    return new Promise((resolve, reject) => {
      const end = (): void => {
        timer.cancel();
        this.#waiting.delete(look);
        signal?.removeEventListener('abort', onAbort);
      };
      const look = (): void => {
        if (!holds()) return;
        end();
        resolve();
      };
      const fail = (code: 'DEADLINE_EXCEEDED' | 'CANCELLED'): void => {
        end();
        const found = this.#lost === undefined ? 'not yet' : `${this.#lost.message}`;
        reject(
          new NsmError(code, `the switch did not get as far as ${what}`, {
            rule: 'ovs-vswitchd',
            expected: `within ${timeoutMs} ms`,
            found,
            remedy: 'see whether ovs-vswitchd and ovsdb-server run',
          }),
        );
      };
      const onAbort = (): void => fail('CANCELLED');
      const timer = this.#options.clock.after(timeoutMs, () => fail('DEADLINE_EXCEEDED'));
      if (signal?.aborted === true) return fail('CANCELLED');
      signal?.addEventListener('abort', onAbort);
      this.#waiting.add(look);
    });
  }

  #onEvent(event: OvsdbEvent): void {
    const changed = new Set<string>();
    if (event.kind === 'lost') {
      this.#state = 'unknown';
      this.#lost = event.error;
      return;
    }
    if (event.kind === 'reset') {
      for (const id of this.#byWire.keys()) changed.add(id);
      const { rows } = event;
      for (const map of [this.#ports, this.#names, this.#byWire, this.#portIds, this.#portTags])
        map.clear();
      this.#opened.clear();
      this.#bridges.clear();
      this.#numbers.clear();
      this.#state = 'known';
      this.#lost = undefined;
      for (const row of rows) this.#apply(row, changed);
    } else {
      for (const change of event.changes) this.#apply(change, changed);
    }
    if (changed.size > 0) this.#options.onChange(changed);
    this.#lookAgain();
  }

  #lookAgain(): void {
    for (const look of this.#waiting) look();
  }

  #apply(change: RowChange, changed: Set<string>): void {
    const { table, uuid } = change;
    const row = change.kind === 'deleted' ? undefined : change.row;
    const before = change.kind === 'inserted' ? undefined : change.before;
    switch (table) {
      case 'Open_vSwitch':
        this.#configuration = numberOf(row?.['cur_cfg']) ?? 0;
        return;
      case 'Bridge':
        this.#applyBridge(uuid, row, changed);
        return;
      case 'Port':
        this.#applyPort(uuid, row, textOf((row ?? before)?.['name']) ?? '');
        return;
      default:
        this.#applyInterface(uuid, row, changed);
    }
  }

  #applyPort(uuid: string, row: OvsdbRow | undefined, name: string): void {
    const tag = numberOf(row?.['tag']);
    if (tag === undefined) this.#portTags.delete(name);
    else this.#portTags.set(name, tag);
    if (row !== undefined) this.#portIds.set(name, uuid);
    else if (this.#portIds.get(name) === uuid) this.#portIds.delete(name);
  }

  #applyBridge(uuid: string, row: OvsdbRow | undefined, changed: Set<string>): void {
    if (row !== undefined) {
      this.#bridges.set(uuid, bridgeRow(uuid, row));
      return;
    }
    const isOurs = this.#bridges.get(uuid)?.name === this.#options.bridge;
    this.#bridges.delete(uuid);
    if (isOurs) for (const id of this.#byWire.keys()) changed.add(id);
  }

  #applyInterface(uuid: string, row: OvsdbRow | undefined, changed: Set<string>): void {
    const before = this.#ports.get(uuid);
    if (row === undefined || numberOf(row['ofport']) !== undefined) this.#opened.delete(uuid);
    const now = row === undefined ? undefined : this.#portRow(uuid, row);
    this.#numbers.set(uuid, row === undefined ? [] : numbersOf(row));
    for (const id of wiresOf(before)) {
      this.#byWire.get(id)?.delete(uuid);
      if (this.#byWire.get(id)?.size === 0) this.#byWire.delete(id);
    }
    if (before !== undefined && this.#names.get(before.name) === uuid) {
      this.#names.delete(before.name);
    }
    if (now === undefined) this.#ports.delete(uuid);
    else {
      this.#ports.set(uuid, now);
      this.#names.set(now.name, uuid);
    }
    for (const id of wiresOf(now)) {
      this.#byWire.set(id, (this.#byWire.get(id) ?? new Set()).add(uuid));
    }
    for (const id of changedWires(before, now)) changed.add(id);
  }

  /** Undefined for what is not this owner's. */
  #portRow(uuid: string, row: OvsdbRow): PortRow | undefined {
    const ids = entriesOf(row['external_ids']);
    if (!isOwnedBy(this.#options.owner, ids)) return undefined;
    const number = numberOf(row['ofport']) ?? this.#opened.get(uuid);
    const end = readPortEnd(ids);
    return {
      uuid,
      name: textOf(row['name']) ?? '',
      number: number !== undefined && number > 0 ? number : undefined,
      requested: numberOf(row['ofport_request']),
      error: textOf(row['error']),
      type: textOf(row['type']) ?? '',
      options: entriesOf(row['options']),
      end,
      uses: end === undefined ? readTunnelUses(ids) : [],
      farEndOf: readFarEndOf(ids),
    };
  }
}

const bridgeRow = (uuid: string, row: OvsdbRow): BridgeRow => ({
  uuid,
  name: textOf(row['name']) ?? '',
  ids: entriesOf(row['external_ids']),
  datapathType: textOf(row['datapath_type']) ?? '',
  failMode: textOf(row['fail_mode']),
});

const numbersOf = (row: OvsdbRow): number[] =>
  [numberOf(row['ofport']), numberOf(row['ofport_request'])].flatMap((each) => each ?? []);

function wiresOf(row: PortRow | undefined): readonly string[] {
  if (row === undefined) return [];
  if (row.farEndOf !== undefined) return [row.farEndOf];
  return row.end === undefined ? row.uses.map(({ wireId }) => wireId) : [row.end.wireId];
}

/** A number that was known already is no news, nor for the others that a tunnel got or lost one more user. */
function changedWires(before: PortRow | undefined, now: PortRow | undefined): readonly string[] {
  const [old, present] = [wiresOf(before), wiresOf(now)];
  if (before === undefined || now === undefined || !isSame(before, now)) {
    return [...old, ...present];
  }
  const left = new Set(present);
  return old.filter((id) => !left.has(id));
}

const isSame = (before: PortRow, now: PortRow): boolean =>
  before.number === now.number &&
  JSON.stringify([before.name, before.error, before.type, [...before.options], before.end]) ===
    JSON.stringify([now.name, now.error, now.type, [...now.options], now.end]);
