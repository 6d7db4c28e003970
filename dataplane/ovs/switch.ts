// This owner's bridge: made where it is missing, changed by transactions that count only once the switch has applied
// them, and its flows by bundles.
// Invariants: a bridge of this name that somebody else made is left alone; nothing waits for a switch that is away
// longer than its caller allows.

import { NsmError } from '../../protocols/errors.ts';
import type { FlowMod, FlowStatistics } from '../../protocols/ovs/flow.ts';
import { flowsByCookie } from '../../protocols/ovs/flow-builders.ts';
import type { OvsdbOperation } from '../../protocols/ovs/ovsdb-operations.ts';
import { mutate, select } from '../../protocols/ovs/ovsdb-operations.ts';
import { numberOf } from '../../protocols/ovs/ovsdb-values.ts';
import type { Clock } from '../../protocols/ports/clock.ts';
import type { Budget } from '../../protocols/ports/dataplane.ts';
import type { OpenFlow, OpenFlowEvent, Ovsdb } from '../../protocols/ports/ovs.ts';
import { GatheredCalls } from './gathered-calls.ts';
import type { BridgeAddress } from './port-operations.ts';
import { addBridge, addedTogether, isDrop } from './port-operations.ts';
import type { SwitchRows } from './switch-rows.ts';
import type { Owner } from './tags.ts';
import { describeOwner, isOwnedBy, ownerCookie, ownerCookieMask, tagVersionOf } from './tags.ts';

export interface SwitchOptions {
  readonly database: Ovsdb;
  /** Of the bridge. */
  readonly openFlow: OpenFlow;
  readonly rows: SwitchRows;
  readonly clock: Clock;
  readonly owner: Owner;
  readonly bridge: string;
  /** Of a bridge that is made. */
  readonly datapathType: DatapathType;
}

/** In the kernel (module openvswitch), or in user space. */
export type DatapathType = 'system' | 'netdev';

/** Has the switch say when it has applied what stands before it. */
const nextConfiguration: readonly OvsdbOperation[] = [
  mutate('Open_vSwitch', [], [['next_cfg', '+=', 1]]),
  select('Open_vSwitch', [], ['next_cfg']),
];

/** A switch that is there has greeted long before. */
const greetingTimeoutMs = 2_000;

/** In one transaction: some thirty wires that are made. */
const operationsMax = 192;
/**
 * In one transaction that takes ports away. A switch with the datapath in user space closes a packet socket for each, which
 * the kernel makes it wait for (15 ms), and forwards nothing meanwhile: what comes for other wires must fit into the
 * buffers of their sockets, some 270 small packets or 90 large ones.
 */
const dropOperationsMax = 8;
/** In one bundle, or asked for in one look. */
const flowsMax = 512;
/** How long changes wait for those before them, while the switch is there. */
const digestionBudget: Budget = { timeoutMs: 2_000 };
/** The switch goes through all of its flows for every cookie; above this it is better to read all of them once. */
const cookiesMax = 8;

export class Switch {
  readonly #options: SwitchOptions;
  readonly #transactions;
  readonly #drops;
  readonly #bundles;
  readonly #additions;
  readonly #looks;
  #making: Promise<void> | undefined;
  #isAway = false;
  /** By name the ports that the switch has told of since it answered a barrier. */
  readonly #told = new Map<string, number>();
  /** Who waits for ports to be opened. */
  #opening = 0;
  #asksBarrier = false;
  /** Ends with the connection to the switch. */
  #presence = new AbortController();

  constructor(options: SwitchOptions) {
    const { clock, openFlow } = options;
    this.#options = options;
    const transactionsOf = (partsMax: number) =>
      new GatheredCalls({
        clock,
        what: 'a change of the database',
        send: (operations: readonly OvsdbOperation[], budget) => this.#transact(operations, budget),
        partsMax,
        digested: (configuration) => this.#digested(configuration),
      });
    this.#transactions = transactionsOf(operationsMax);
    this.#drops = transactionsOf(dropOperationsMax);
    this.#bundles = new GatheredCalls({
      clock,
      what: 'a change of flows',
      send: (changes: readonly FlowMod[], budget) => openFlow.commit(changes, budget),
      partsMax: flowsMax,
    });
    this.#additions = new GatheredCalls({
      clock,
      what: 'an addition of flows',
      send: (changes: readonly FlowMod[], budget) => openFlow.program(changes, budget),
      partsMax: flowsMax,
    });
    this.#looks = new GatheredCalls({
      clock,
      what: 'a look at flows',
      send: (cookies: readonly bigint[], budget) => this.#flowsOfAll(cookies, budget),
      partsMax: flowsMax,
    });
    openFlow.watch((event) => this.#onEvent(event));
  }

  #onEvent(event: OpenFlowEvent): void {
    switch (event.kind) {
      case 'connected':
        this.#isAway = false;
        return;
      case 'lost':
        this.#isAway = true;
        this.#told.clear();
        this.#presence.abort();
        this.#presence = new AbortController();
        return;
      case 'portStatus':
        if (event.reason === 'added') this.#told.set(event.port.name, event.port.number);
        else if (event.reason === 'deleted') this.#told.delete(event.port.name);
        this.#askBarrier();
        return;
      case 'barrier':
        this.#asksBarrier = false;
        if (this.#told.size > 0) this.#options.rows.opened(this.#told);
        this.#told.clear();
        return;
      // The data plane's affair, which knows whose it was.
      case 'flowRemoved':
    }
  }

  /** At the first port of several: the switch hears it when it has told of the others as well. */
  #askBarrier(): void {
    if (this.#opening === 0 || this.#told.size === 0 || this.#asksBarrier) return;
    this.#asksBarrier = true;
    // Without an answer the database says it.
    this.#options.openFlow.barrier(digestionBudget).catch(() => (this.#asksBarrier = false));
  }

  /** False while the switch is away; then it has no flows either. */
  async isThere({ timeoutMs }: Budget): Promise<boolean> {
    if (this.#isAway) return false;
    const budget = { timeoutMs: Math.min(timeoutMs, greetingTimeoutMs) };
    return this.#options.openFlow.features(budget).then(
      () => true,
      () => false,
    );
  }

  /** Why the switch could not make the bridge; undefined where it could. */
  get problem(): string | undefined {
    return this.#options.rows.named(this.#options.bridge)?.error;
  }

  get datapathType(): DatapathType {
    const { rows, datapathType } = this.#options;
    const there = rows.bridge?.datapathType;
    if (there === undefined) return datapathType;
    return there === 'netdev' ? 'netdev' : 'system';
  }

  /** Where operations go, once the bridge is there. Errors: FAILED_PRECONDITION for somebody else's. */
  async address(budget: Budget): Promise<BridgeAddress> {
    const { rows, owner } = this.#options;
    await rows.ready(budget);
    if (rows.bridge === undefined) await this.#makeBridge(budget);
    const { bridge } = rows;
    if (bridge === undefined) throw noBridge(this.#options.bridge);
    if (!isOwnedBy(owner, bridge.ids)) throw foreignBridge(this.#options.bridge, bridge.ids);
    if (this.problem !== undefined) throw brokenBridge(this.#options.bridge, this.problem);
    return { owner, bridge: bridge.uuid };
  }

  /** Undefined where there is no bridge of this owner, so that there is nothing to take away. */
  async addressIfAny(budget: Budget): Promise<BridgeAddress | undefined> {
    const { rows, owner } = this.#options;
    await rows.ready(budget);
    const { bridge } = rows;
    if (bridge === undefined || !isOwnedBy(owner, bridge.ids)) return undefined;
    return { owner, bridge: bridge.uuid };
  }

  /** Commits, and waits until the switch has done it. */
  async apply(operations: readonly OvsdbOperation[], budget: Budget): Promise<void> {
    await this.applied(await this.begin(operations, budget), budget);
  }

  /** Commits; the number says when the switch has done it, to `applied`. The rows have it already. */
  async begin(operations: readonly OvsdbOperation[], budget: Budget): Promise<number> {
    if (operations.length === 0) return 0;
    const calls = operations.some(isDrop) ? this.#drops : this.#transactions;
    return calls.ask(operations, budget);
  }

  async applied(configuration: number, budget: Budget): Promise<void> {
    const { rows } = this.#options;
    const isApplied = (): boolean => rows.configuration >= configuration;
    await rows.until(`configuration ${configuration}`, budget, isApplied);
  }

  /**
   * As `applied`, or as soon as the switch has opened all of these ports: it tells of each when it has it, and answers the
   * next barrier when packets take it, long before it has told the database.
   */
  async opened(names: readonly string[], configuration: number, budget: Budget): Promise<void> {
    const { rows } = this.#options;
    const isOpened = (): boolean =>
      rows.configuration >= configuration ||
      names.every((name) => rows.named(name)?.number !== undefined);
    this.#opening += 1;
    this.#askBarrier();
    try {
      await rows.until(`configuration ${configuration}`, budget, isOpened);
    } finally {
      this.#opening -= 1;
    }
  }

  async flowsOf(cookie: bigint, budget: Budget): Promise<readonly FlowStatistics[]> {
    const found = await this.#looks.ask([cookie], budget);
    return found.filter((flow) => flow.cookie === cookie);
  }

  /** All of this owner's. */
  flows(budget: Budget): Promise<readonly FlowStatistics[]> {
    const { openFlow, owner } = this.#options;
    return openFlow.flows(flowsByCookie(ownerCookie(owner), ownerCookieMask), budget);
  }

  /** For what no packet takes yet: half the way of a bundle, and what of it is not refused has happened. */
  async program(changes: readonly FlowMod[], budget: Budget): Promise<void> {
    await this.#additions.ask(changes, budget);
  }

  /** All or none. */
  async commit(changes: readonly FlowMod[], budget: Budget): Promise<void> {
    if (changes.length > 0) await this.#bundles.ask(changes, budget);
  }

  async #transact(operations: readonly OvsdbOperation[], budget: Budget): Promise<number> {
    const results = await this.#options.database.transact(
      [...addedTogether(operations), ...nextConfiguration],
      budget,
    );
    return numberOf(results.at(-1)?.rows[0]?.['next_cfg']) ?? 0;
  }

  /** Else all that has been asked for would become one change, in which the switch says nothing for seconds. */
  async #digested(configuration: number): Promise<void> {
    if (this.#isAway) return;
    const budget: Budget = { ...digestionBudget, signal: this.#presence.signal };
    await this.applied(configuration, budget).catch(() => {});
  }

  async #flowsOfAll(
    cookies: readonly bigint[],
    budget: Budget,
  ): Promise<readonly FlowStatistics[]> {
    const { openFlow } = this.#options;
    const asked = new Set(cookies);
    if (asked.size > cookiesMax) return this.flows(budget);
    const found = [...asked].map((cookie) => openFlow.flows(flowsByCookie(cookie), budget));
    return (await Promise.all(found)).flat();
  }

  #makeBridge(budget: Budget): Promise<void> {
    const { bridge: name, owner, rows } = this.#options;
    this.#making ??= (async () => {
      if (rows.bridge !== undefined) return;
      const version = tagVersionOf(owner);
      const { datapathType } = this;
      await this.apply(
        addBridge({ name, datapathType, owner, version, failMode: 'secure' }),
        budget,
      );
    })().finally(() => {
      this.#making = undefined;
    });
    return this.#making;
  }
}

function foreignBridge(name: string, ids: Parameters<typeof describeOwner>[0]): NsmError {
  return new NsmError('FAILED_PRECONDITION', `bridge ${name} is somebody else's`, {
    rule: 'bridge',
    expected: 'a bridge of this forwarder, or none of that name',
    found: describeOwner(ids),
    remedy: 'give this forwarder another NSM_BRIDGE_NAME, or remove that bridge',
  });
}

function noBridge(name: string): NsmError {
  return new NsmError('UNAVAILABLE', `bridge ${name} was removed as soon as it was made`, {
    rule: 'bridge',
    remedy: 'see who else changes the database',
  });
}

function brokenBridge(name: string, error: string): NsmError {
  return new NsmError('FAILED_PRECONDITION', `the switch cannot make bridge ${name}`, {
    rule: 'bridge',
    expected: 'an interface of that name: /dev/net/tun for the user-space datapath',
    found: error,
  });
}
