// Protects when a new port counts as open: as soon as the switch has told of it and then answered a barrier, or has
// applied the configuration. What the database says of it later is no news, unless it says something else.

import { beforeEach, expect, test } from 'vitest';

import { Switch } from '../../../dataplane/ovs/switch.ts';
import { SwitchRows } from '../../../dataplane/ovs/switch-rows.ts';
import { portIds } from '../../../dataplane/ovs/tags.ts';
import type { RowChange } from '../../../protocols/ovs/ovsdb-rows.ts';
import type { OvsdbRow } from '../../../protocols/ovs/ovsdb-values.ts';
import type { OpenFlow, OpenFlowEvent, Ovsdb, OvsdbEvent } from '../../../protocols/ports/ovs.ts';
import { createManualClock } from '../../sandbox/manual-clock.ts';

const owner = { installation: 'ours', forwarder: 'node' };
const budget = { timeoutMs: 1_000 };
const end = { wireId: 'wire', version: 1, link: 7, isJoined: true } as const;

let rows: SwitchRows;
let bridge: Switch;
let ofDatabase: (event: OvsdbEvent) => void;
let ofSwitch: (event: OpenFlowEvent) => void;
let changed: string[];
let barriersAsked: number;

beforeEach(() => {
  changed = [];
  barriersAsked = 0;
  const clock = createManualClock();
  const database: Partial<Ovsdb> = {
    monitor(_, listener) {
      ofDatabase = listener;
      return () => {};
    },
  };
  const openFlow: Partial<OpenFlow> = {
    barrier() {
      barriersAsked += 1;
      return Promise.resolve();
    },
    watch(listener) {
      ofSwitch = listener;
      return () => {};
    },
  };
  const own = { database: database as Ovsdb, clock, owner, bridge: 'br-nsm' };
  rows = new SwitchRows({ ...own, onChange: (ids) => void changed.push(...ids) });
  bridge = new Switch({ ...own, rows, openFlow: openFlow as OpenFlow, datapathType: 'netdev' });
  ofDatabase({ kind: 'reset', rows: [] });
  ofDatabase({ kind: 'changed', changes: [interfaceRow('client'), interfaceRow('endpoint')] });
  changed.length = 0;
});

function interfaceRow(side: 'client' | 'endpoint', number?: number, before?: OvsdbRow): RowChange {
  const row: OvsdbRow = {
    name: side,
    type: '',
    ofport_request: side === 'client' ? 1 : 2,
    ofport: number ?? ['set', []],
    error: ['set', []],
    options: ['map', []],
    external_ids: portIds(owner, { ...end, side }),
  };
  const place = { table: 'Interface', uuid: `uuid of ${side}`, row };
  if (before === undefined) return { kind: 'inserted', ...place };
  return { kind: 'modified', ...place, before };
}

function modified(side: 'client' | 'endpoint', number?: number): RowChange {
  const before = interfaceRow(side);
  return interfaceRow(side, number, before.kind === 'deleted' ? {} : before.row);
}

function tellPort(name: string, number: number): void {
  const port = { number, name, macAddress: new Uint8Array(6), config: 0, state: 0 };
  ofSwitch({ kind: 'portStatus', reason: 'added', port });
}

/** Both ports of the wire, in configuration 5. */
function opening(): { readonly isOpen: () => Promise<boolean> } {
  let isOpen = false;
  void bridge.opened(['client', 'endpoint'], 5, budget).then(() => (isOpen = true));
  return {
    async isOpen() {
      for (let turn = 0; turn < 5; turn += 1) await Promise.resolve();
      return isOpen;
    },
  };
}

test('ports are open with the barrier before which the switch has told of all of them', async () => {
  const { isOpen } = opening();
  tellPort('client', 1);
  ofSwitch({ kind: 'barrier' });
  expect(await isOpen()).toBe(false);
  tellPort('endpoint', 2);
  expect(await isOpen()).toBe(false);
  expect(barriersAsked).toBe(2);
  ofSwitch({ kind: 'barrier' });
  expect(await isOpen()).toBe(true);
  expect([rows.named('client')?.number, rows.named('endpoint')?.number]).toEqual([1, 2]);
});

test('one barrier is asked for where ports come together, and none where nobody waits', async () => {
  tellPort('other', 3);
  expect(barriersAsked).toBe(0);
  const { isOpen } = opening();
  tellPort('client', 1);
  tellPort('endpoint', 2);
  ofSwitch({ kind: 'barrier' });
  expect(await isOpen()).toBe(true);
  expect(barriersAsked).toBe(1);
});

test('without a barrier they are with the configuration', async () => {
  const { isOpen } = opening();
  tellPort('client', 1);
  tellPort('endpoint', 2);
  const row = { cur_cfg: 5 };
  ofDatabase({
    kind: 'changed',
    changes: [{ kind: 'inserted', table: 'Open_vSwitch', uuid: 'root', row }],
  });
  expect(await isOpen()).toBe(true);
});

test('a port that was told of and went, or whose switch did, is not open', async () => {
  const { isOpen } = opening();
  tellPort('endpoint', 2);
  tellPort('client', 1);
  const port = { number: 1, name: 'client', macAddress: new Uint8Array(6), config: 0, state: 0 };
  ofSwitch({ kind: 'portStatus', reason: 'deleted', port });
  ofSwitch({ kind: 'barrier' });
  expect(await isOpen()).toBe(false);
  tellPort('client', 1);
  ofSwitch({ kind: 'lost', error: undefined as never });
  ofSwitch({ kind: 'barrier' });
  expect(await isOpen()).toBe(false);
});

test('the number is no news when the database has it, another one is, and none is not believed', () => {
  tellPort('client', 1);
  ofSwitch({ kind: 'barrier' });
  ofDatabase({ kind: 'changed', changes: [modified('client')] });
  expect(rows.named('client')?.number).toBe(1);
  ofDatabase({ kind: 'changed', changes: [modified('client', 1)] });
  expect(changed).toEqual([]);
  ofDatabase({ kind: 'changed', changes: [modified('client', -1)] });
  expect(rows.named('client')?.number).toBeUndefined();
  expect(changed).toContain('wire');
});
