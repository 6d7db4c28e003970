// What `vwire nsc` prints when a connection changes: the latest report of each connection, and who waits for one.

import { NsmError } from '../../protocols/errors.ts';

export interface ClientReport {
  readonly event: 'requesting' | 'established' | 'healing' | 'closed';
  readonly networkService: string;
  readonly connectionId: string;
  /** Since the client began to request, in ms. */
  readonly afterMs: number;
  readonly endpoint?: string;
  readonly path?: readonly string[];
  readonly addresses?: readonly string[];
  readonly peerAddresses?: readonly string[];
  readonly interface?: string;
  /** Tries that have failed. */
  readonly attempts?: number;
  /** What set off a healing. */
  readonly cause?: string;
  readonly error?: string;
}

export class ClientReports {
  readonly #latest = new Map<string, Map<string, ClientReport>>();
  readonly #waiting = new Set<() => void>();

  keep(client: string, line: string): void {
    const report = parseReport<ClientReport>(line);
    if (report === undefined) return;
    const known = this.#latest.get(client) ?? new Map<string, ClientReport>();
    this.#latest.set(client, known.set(report.connectionId, report));
    for (const wake of this.#waiting) wake();
  }

  /** Latest report of each connection of a client. */
  of(client: string): readonly ClientReport[] {
    return [...(this.#latest.get(client)?.values() ?? [])];
  }

  /** Waits until the client has a connection. DEADLINE_EXCEEDED with its last error. */
  async connected(client: string, timeoutMs: number): Promise<ClientReport> {
    const wanted = (report: ClientReport): boolean => report.event === 'established';
    const [found] = await this.waitFor(client, { count: 1, wanted, timeoutMs });
    if (found !== undefined) return found;
    throw new NsmError('INTERNAL', `${client} has no connection`);
  }

  /** Waits until the latest reports of `count` connections are as wanted. */
  waitFor(
    client: string,
    wait: {
      readonly count: number;
      readonly wanted: (report: ClientReport) => boolean;
      readonly timeoutMs: number;
    },
  ): Promise<readonly ClientReport[]> {
    return new Promise((resolve, reject) => {
      const look = (): void => {
        const found = this.of(client).filter(wait.wanted);
        if (found.length < wait.count) return;
        end();
        resolve(found);
      };
      const end = (): void => {
        clearTimeout(timer);
        this.#waiting.delete(look);
      };
      const timer = setTimeout(() => {
        end();
        const last = this.of(client).at(-1);
        const found = last?.error ?? last?.event ?? 'it reported nothing';
        reject(
          new NsmError('DEADLINE_EXCEEDED', `${client} has no connection as wanted`, { found }),
        );
      }, wait.timeoutMs);
      this.#waiting.add(look);
      look();
    });
  }
}

export function parseReport<Report>(line: string): Report | undefined {
  try {
    return JSON.parse(line) as Report;
  } catch {
    return undefined;
  }
}
