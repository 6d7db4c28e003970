// What the Open vSwitch data plane needs of Open vSwitch: its database and one bridge's OpenFlow tables.
// Invariants: every call ends by its deadline; calls of one client are sent in the order in which they were made;
// after a loss the clients connect again by themselves, and say so, since a switch that restarted knows no flow.

import type { FlowFilter, FlowMod, FlowRemoved, FlowStatistics } from '../ovs/flow.ts';
import type { FlowSums, SwitchDescription } from '../ovs/multipart.ts';
import type { SwitchFeatures } from '../ovs/openflow-messages.ts';
import type { OvsdbResult } from '../ovs/ovsdb-messages.ts';
import type { OvsdbOperation } from '../ovs/ovsdb-operations.ts';
import type { MonitoredTable, RowChange } from '../ovs/ovsdb-rows.ts';
import type { OvsdbSchema } from '../ovs/ovsdb-schema.ts';
import type { PortStatistics, SwitchPort } from '../ovs/switch-port.ts';
import type { NsmError } from '../errors.ts';
import type { Budget } from './dataplane.ts';

/** `reset` comes first and after every reconnect: all rows there are, in place of those known before. */
export type OvsdbEvent =
  | {
      readonly kind: 'reset';
      readonly rows: readonly Extract<RowChange, { readonly kind: 'inserted' }>[];
    }
  /** What one transaction changed. */
  | { readonly kind: 'changed'; readonly changes: readonly RowChange[] }
  /** The rows known may be out of date until the next `reset`; also where the server refuses the monitor. */
  | { readonly kind: 'lost'; readonly error: NsmError };

export interface Ovsdb {
  /**
   * All operations or none, as one answer per operation. Errors: what the server refused, with operation, table and
   * column (FAILED_PRECONDITION, ALREADY_EXISTS for a taken index, ABORTED for a `wait` that does not hold,
   * INVALID_ARGUMENT and others); DEADLINE_EXCEEDED, CANCELLED and UNAVAILABLE say in `found` whether it was sent:
   * if so, it may have happened.
   */
  transact(operations: readonly OvsdbOperation[], budget: Budget): Promise<readonly OvsdbResult[]>;
  /** Returns how to stop; no event comes after that. RESOURCE_EXHAUSTED (thrown): too many monitors. */
  monitor(tables: readonly MonitoredTable[], listener: (event: OvsdbEvent) => void): () => void;
  /** The database's schema as of the current connection. */
  schema(budget: Budget): Promise<OvsdbSchema>;
  close(): Promise<void>;
}

export type OpenFlowEvent =
  /** Connected, for the first time or again: what the switch knows may be nothing. */
  | { readonly kind: 'connected'; readonly features: SwitchFeatures }
  | { readonly kind: 'lost'; readonly error: NsmError }
  | {
      readonly kind: 'portStatus';
      readonly reason: 'added' | 'deleted' | 'modified';
      readonly port: SwitchPort;
    }
  /** A barrier was answered: packets take what was asked before it, and what the switch has told of before this. */
  | { readonly kind: 'barrier' }
  /** Only of flows with `flowModFlag.sendFlowRemoved`. */
  | { readonly kind: 'flowRemoved'; readonly removed: FlowRemoved };

/**
 * One bridge. Errors of every call: those of the switch by name (`rule: BAD_ACTION/BAD_OUT_PORT`), or as Ovsdb's; what
 * only reads waits for the switch to come back instead of UNAVAILABLE.
 */
export interface OpenFlow {
  /** All of the modifications or none; packets see the tables before or after, never between. */
  commit(mods: readonly FlowMod[], budget: Budget): Promise<void>;
  /** In order, each by itself: what is not refused has happened. The error names the first that was refused. */
  program(mods: readonly FlowMod[], budget: Budget): Promise<void>;
  flows(filter: FlowFilter, budget: Budget): Promise<readonly FlowStatistics[]>;
  flowSums(filter: FlowFilter, budget: Budget): Promise<FlowSums>;
  ports(budget: Budget): Promise<readonly SwitchPort[]>;
  portStatistics(budget: Budget): Promise<readonly PortStatistics[]>;
  description(budget: Budget): Promise<SwitchDescription>;
  features(budget: Budget): Promise<SwitchFeatures>;
  /** Everything sent before has been done when it resolves. */
  barrier(budget: Budget): Promise<void>;
  watch(listener: (event: OpenFlowEvent) => void): () => void;
  close(): Promise<void>;
}
