// What all processes of one simulated mesh stand on: virtual time, the network with its links, the machines, the trace,
// and the first failure that was seen.

import type { LogFields } from '../../protocols/ports/log.ts';
import {
  createSimulatedNetwork,
  type SimulatedNetwork,
} from '../../transports/memory/simulated-network.ts';
import { randomOf, type SeededRandom } from '../sandbox/seeded-random.ts';
import { VirtualTime } from '../sandbox/virtual-time.ts';
import type { Life, Place } from './life.ts';
import { SimulatedLinks } from './links.ts';
import { Trace } from './trace.ts';

export interface Failure {
  readonly invariant: string;
  readonly what: string;
  readonly atMs: number;
}

/** Virtual time begins here on every wall clock. */
const epochMs = Date.UTC(2026, 0, 1);

export interface GroundOptions {
  readonly seed: number;
  readonly onLine?: (line: string) => void;
  /** Also what the processes log. */
  readonly logs?: boolean;
}

export class Ground {
  readonly seed: number;
  readonly time = new VirtualTime();
  readonly random: SeededRandom;
  readonly links: SimulatedLinks;
  readonly network: SimulatedNetwork;
  readonly trace: Trace;
  readonly lives: Life[] = [];
  readonly isVerbose: boolean;
  readonly #places = new Map<string, Place>();
  failure: Failure | undefined;

  constructor({ seed, onLine, logs = false }: GroundOptions) {
    const { time } = this;
    this.seed = seed;
    this.random = randomOf(seed, 'ground');
    this.trace = new Trace(() => time.nowMs(), onLine);
    this.links = new SimulatedLinks(randomOf(seed, 'links'), () => time.nowMs());
    this.network = createSimulatedNetwork({
      clock: time,
      random: randomOf(seed, 'network'),
      links: this.links,
      onEvent: (event) => this.trace.add(event),
    });
    this.isVerbose = logs;
    this.#logs = logs ? onLine : undefined;
  }

  readonly #logs: ((line: string) => void) | undefined;

  place(name: string): Place {
    const known = this.#places.get(name);
    if (known !== undefined) return known;
    const originMs = randomOf(this.seed, `place ${name}`).integer(10_000_000);
    const place: Place = { name, originMs, boot: 1, wallMs: epochMs };
    this.#places.set(name, place);
    return place;
  }

  /** The first failure is the run's; what follows from it says less. */
  fail(invariant: string, what: string): void {
    this.trace.add(`FAILED ${invariant}: ${what}`);
    this.failure ??= { invariant, what, atMs: this.time.nowMs() };
  }

  readonly onLog = (process: string, level: string, message: string, fields: LogFields): void => {
    this.#logs?.(`    ${level} ${process}: ${message} ${JSON.stringify(fields, plain)}`);
    if (message === 'an actor crashed') {
      const { cause } = fields;
      const stack = cause instanceof Error ? `\n${cause.stack}` : '';
      this.fail(
        'no actor crashes',
        `${process}: ${String(fields['actor'])} ${String(fields['error'])}${stack}`,
      );
    }
  };
}

function plain(_: string, value: unknown): unknown {
  if (typeof value === 'bigint') return String(value);
  return value instanceof Error ? value.message : value;
}
