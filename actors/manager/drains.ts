// What drains at this node: single Endpoints by name, or all of them. NSM has no such concept. Who drains carries a label in
// the registry (protocols/nsm/draining.ts), so that no new client comes, and its connections are asked to move. Invariants:
// it lasts until it is taken back, over restarts of the Endpoint and, by the journal, of the manager; the label is on
// its way to the registry before the first client is asked.

import type { NetworkServiceEndpoint } from '../../protocols/nsm/gen/registry_pb.ts';
import type { Clock, Timer } from '../../protocols/ports/clock.ts';
import type { Journal } from '../../protocols/ports/journal.ts';
import type { ConnectionTable, Intent } from '../connection/connection-table.ts';
import type { Judge, Moves } from './moves.ts';

export interface DrainsSetup {
  readonly clock: Clock;
  readonly table: Pick<ConnectionTable, 'all'>;
  /** Registered at this manager. */
  readonly local: () => Iterable<NetworkServiceEndpoint>;
  readonly journal?: Journal;
  readonly moves: Moves;
  readonly judge: Judge;
  /** Carriers of the node, which no client asks for: they do not drain. */
  readonly forwarderServiceName: string;
}

/** Kept beside the names of Endpoints, which are never empty. */
const wholeNode = 'node';
const endpointKey = (name: string): string => `endpoint/${name}`;
const keyPrefix = endpointKey('');
const mark = new Uint8Array([1]);

/** How soon a client is asked that came to a draining Endpoint all the same. */
const lookAgainMs = 1_000;

export class Drains {
  #setup: DrainsSetup;
  #names = new Set<string>();
  #isWholeNode = false;
  #timer: Timer | undefined;
  #isClosed = false;

  constructor(setup: DrainsSetup) {
    this.#setup = setup;
  }

  /** Takes up what the last life drained. */
  async load(): Promise<void> {
    for (const key of (await this.#setup.journal?.load())?.keys() ?? []) {
      if (key === wholeNode) this.#isWholeNode = true;
      else if (key.startsWith(keyPrefix)) this.#names.add(key.slice(keyPrefix.length));
    }
    this.#arm();
  }

  get isWholeNode(): boolean {
    return this.#isWholeNode;
  }

  /** An entry that is registered here; the lease of a node that drains as a whole says so too. */
  drains(endpoint: NetworkServiceEndpoint): boolean {
    if (this.isForwarder(endpoint)) return false;
    return this.#isWholeNode || this.#names.has(endpoint.name);
  }

  isForwarder({ networkServiceNames }: NetworkServiceEndpoint): boolean {
    return networkServiceNames.includes(this.#setup.forwarderServiceName);
  }

  /** By name, where it was told to by name. */
  hasName(name: string): boolean {
    return this.#names.has(name);
  }

  async setEndpoint(name: string, isDraining: boolean): Promise<void> {
    const { journal } = this.#setup;
    if (isDraining) {
      await journal?.put(endpointKey(name), mark);
      this.#names.add(name);
    } else {
      await journal?.delete(endpointKey(name));
      this.#names.delete(name);
    }
  }

  /** Taken back for the node it is taken back for each of its Endpoints. */
  async setNode(isDraining: boolean): Promise<void> {
    const { journal } = this.#setup;
    if (isDraining) await journal?.put(wholeNode, mark);
    else await journal?.delete(wholeNode);
    this.#isWholeNode = isDraining;
    if (isDraining) return;
    for (const name of this.#names) await this.setEndpoint(name, false);
  }

  /** Has every connection that ends at a draining Endpoint asked to move. */
  askToMove(): void {
    const { table, moves, judge } = this.#setup;
    const names = this.#drainingNames();
    for (const { connection, established } of table.all()) {
      if (!established || !names.has(connection.networkServiceEndpointName)) continue;
      moves.consider(connection.id, judge);
    }
    this.#arm();
  }

  /** That end at the Endpoint. */
  connectionsOf(endpoint: string): readonly Intent[] {
    const found: Intent[] = [];
    for (const intent of this.#setup.table.all()) {
      const { networkServiceEndpointName } = intent.connection;
      if (intent.established && networkServiceEndpointName === endpoint) found.push(intent);
    }
    return found;
  }

  close(): void {
    this.#isClosed = true;
    this.#timer?.cancel();
  }

  /** Someone may have chosen the Endpoint before its label was known, or asks for it by name. */
  #arm(): void {
    const isIdle = !this.#isWholeNode && this.#names.size === 0;
    if (this.#isClosed || this.#timer !== undefined || isIdle) return;
    this.#timer = this.#setup.clock.after(lookAgainMs, () => {
      this.#timer = undefined;
      this.askToMove();
    });
  }

  /** Also those that are not registered at the moment. */
  #drainingNames(): ReadonlySet<string> {
    const names = new Set(this.#names);
    if (!this.#isWholeNode) return names;
    for (const each of this.#setup.local()) if (this.drains(each)) names.add(each.name);
    return names;
  }
}
