// Keeps what this manager has registered present in the registry: one watch over all entries that carry the
// manager's URL. When the watch ends (the registry stopped or lost its data) or tells a deletion of a live entry, what is
// registered here is registered there again. Invariants: one watch at a time, opened again with back-off; at
// most `parallelMax` registrations under way.

import { create } from '@bufbuild/protobuf';
import { describeError } from '../../../protocols/errors.ts';
import { Replacements } from '../../../protocols/messages/replaced-connection.ts';
import {
  type NetworkServiceEndpoint,
  NetworkServiceEndpointQuerySchema,
} from '../../../protocols/nsm/gen/registry_pb.ts';
import type { Clock, Timer } from '../../../protocols/ports/clock.ts';
import type { Log } from '../../../protocols/ports/log.ts';
import type { Random } from '../../../protocols/ports/random.ts';
import type { RegistryClients } from '../../registry/registry-clients.ts';

export interface PresenceSetup {
  readonly upstream: RegistryClients;
  readonly publicUrl: string;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  /** Endpoints that are to be present. */
  readonly local: () => Iterable<NetworkServiceEndpoint>;
  readonly isLocal: (name: string) => boolean;
  readonly registerAgain: (name: string) => Promise<void>;
}

const backoffMs = 100;
const backoffMsMax = 5_000;
const parallelMax = 16;

export class Presence {
  #setup: PresenceSetup;
  #abort = new AbortController();
  #retry: Timer | undefined;
  #failures = 0;
  readonly #replacements = new Replacements();
  #isFirst = true;
  /** Names to register as soon as there is room, and those under way. */
  #due = new Set<string>();
  #underWay = new Set<string>();

  constructor(setup: PresenceSetup) {
    this.#setup = setup;
    void this.#follow();
  }

  close(): void {
    this.#retry?.cancel();
    this.#abort.abort();
    this.#due.clear();
  }

  async #follow(): Promise<void> {
    const { upstream, publicUrl, log, clock } = this.#setup;
    const openedMs = clock.nowMs();
    let mayReopen = false;
    const query = create(NetworkServiceEndpointQuerySchema, {
      networkServiceEndpoint: { url: publicUrl },
      watch: true,
    });
    let why = 'the registry ended its watch';
    try {
      const stream = upstream.endpoints.find(query, { signal: this.#abort.signal });
      if (!this.#isFirst) this.#registerSoon([...this.#setup.local()].map(({ name }) => name));
      this.#isFirst = false;
      for await (const { networkServiceEndpoint: endpoint, deleted } of stream) {
        if (this.#abort.signal.aborted) return;
        this.#failures = 0;
        if (deleted && endpoint !== undefined && this.#setup.isLocal(endpoint.name)) {
          log.info('registry deleted a live endpoint, registered again', {
            endpoint: endpoint.name,
          });
          this.#registerSoon([endpoint.name]);
        }
      }
    } catch (error) {
      why = describeError(error);
      mayReopen = this.#replacements.mayReopen(error, clock.nowMs() - openedMs);
    }
    if (this.#abort.signal.aborted) return;
    if (mayReopen) {
      void this.#follow();
      return;
    }
    this.#failures += 1;
    if (this.#failures === 1) log.warn('manager lost its registry', { why });
    this.#armRetry();
  }

  #armRetry(): void {
    const { clock, random } = this.#setup;
    const capped = Math.min(backoffMs * 2 ** Math.min(this.#failures - 1, 10), backoffMsMax);
    const delayMs = capped / 2 + random.integer(Math.ceil(capped / 2));
    this.#retry = clock.after(delayMs, () => void this.#follow());
  }

  /** A name that is under way already has its turn again afterwards: what is under way may have been lost. */
  #registerSoon(names: readonly string[]): void {
    for (const name of names) this.#due.add(name);
    this.#registerDue();
  }

  #registerDue(): void {
    for (const name of this.#due) {
      if (this.#underWay.size >= parallelMax) return;
      if (this.#underWay.has(name)) continue;
      this.#due.delete(name);
      this.#underWay.add(name);
      void this.#registerOne(name).then(() => {
        this.#underWay.delete(name);
        this.#registerDue();
      });
    }
  }

  async #registerOne(name: string): Promise<void> {
    try {
      await this.#setup.registerAgain(name);
    } catch (error) {
      // The endpoint's own refresh, or the next end of the watch, tries again.
      this.#setup.log.debug('endpoint was not registered again', {
        endpoint: name,
        error: describeError(error),
      });
    }
  }
}
