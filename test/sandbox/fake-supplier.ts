// A supplier port without processes: what it "starts" is whatever the test gives it, an Endpoint of an in-process mesh
// or nothing. It keeps the promises of the port and lets a test end, fail or hold what it started.

import type { Connection } from '../../protocols/nsm/gen/connection_pb.ts';
import type {
  EndedEndpoint,
  EndpointSupplier,
  SuppliedEndpoint,
} from '../../protocols/ports/endpoint-supplier.ts';

interface FakeSupplierOptions {
  readonly nameFor?: (connection: Connection) => string;
  /** Makes the Endpoint; returns what ends it. A throw is a start that failed. */
  readonly begin: (name: string, connection: Connection) => Promise<() => Promise<void>>;
}

export class FakeSupplier implements EndpointSupplier {
  /** Every start, by name, in order. */
  readonly starts: string[] = [];
  readonly removals: string[] = [];
  readonly #options: FakeSupplierOptions;
  readonly #running = new Map<string, () => Promise<void>>();
  readonly #ended = new Map<string, EndedEndpoint>();
  readonly #listeners = new Set<(ended: EndedEndpoint) => void>();

  constructor(options: FakeSupplierOptions) {
    this.#options = options;
  }

  nameFor(connection: Connection): string {
    return this.#options.nameFor?.(connection) ?? `nse-${connection.networkService}`;
  }

  running(): readonly SuppliedEndpoint[] {
    return [...this.#running.keys()].map(supplied);
  }

  async start(connection: Connection): Promise<SuppliedEndpoint> {
    const name = this.nameFor(connection);
    if (this.#running.has(name)) return supplied(name);
    this.starts.push(name);
    this.#running.set(name, await this.#options.begin(name, connection));
    return supplied(name);
  }

  async remove(name: string): Promise<void> {
    this.removals.push(name);
    this.#ended.delete(name);
    const end = this.#running.get(name);
    this.#running.delete(name);
    await end?.();
  }

  watch(listener: (ended: EndedEndpoint) => void): () => void {
    this.#listeners.add(listener);
    for (const ended of this.#ended.values()) listener(ended);
    return () => void this.#listeners.delete(listener);
  }

  async close(): Promise<void> {
    this.#listeners.clear();
  }

  /** The Endpoint ends by itself. */
  async end(name: string, how = 'exit code 0'): Promise<void> {
    await this.#running.get(name)?.();
    this.#running.delete(name);
    const ended = { name, how, isClean: how === 'exit code 0' };
    this.#ended.set(name, ended);
    for (const listener of this.#listeners) listener(ended);
  }
}

const supplied = (name: string): SuppliedEndpoint => ({ name, what: `fake ${name}` });
