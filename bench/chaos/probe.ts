// The probers of one wire as the runner sees them: a sender in the client's namespace, and an answerer in the
// namespace of each Endpoint that may be at the other end. An answerer that is killed is missed by nobody.

import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import type { NetworkNamespace } from '../../transports/netlink/network-namespace.ts';
import { spawnInNamespace } from '../../transports/netlink/spawn-in-namespace.ts';
import { intervalMs } from './ports.ts';
import type { ProberCommand, ProberReply } from './prober-process.ts';
import type { Losses } from './sequence-account.ts';

export interface ProbeResult extends Losses {
  readonly longestMs: number;
  readonly longestAtMs: number | undefined;
  /** When packets flowed again after the last was lost; undefined where none was. On the clock of `monotonicMs`. */
  readonly flowsAgainMs: number | undefined;
  /** How far the sender was behind its schedule at the worst. */
  readonly lateMs: number;
}

const replyTimeoutMs = 20_000;

export const monotonicMs = (): number => Number(process.hrtime.bigint()) / 1e6;

const runsFromSource = import.meta.url.endsWith('.ts');
const program = fileURLToPath(
  new URL(runsFromSource ? './prober-process.ts' : './prober-process.js', import.meta.url),
);

/** A child that answers one command with one line. */
class Prober {
  readonly #child: ChildProcess;
  readonly #exited: Promise<unknown>;
  readonly #replies: ProberReply[] = [];
  #wake: () => void = () => {};
  #isRunning = true;

  private constructor(namespace: NetworkNamespace, mode: 'send' | 'answer') {
    const loader = runsFromSource ? ['--import', 'tsx'] : [];
    const command = [process.execPath, ...loader, program, mode] as const;
    this.#child = spawnInNamespace(namespace.url, [...command], {
      stdio: ['pipe', 'pipe', 'inherit'],
    });
    this.#child.stdin?.on('error', () => {});
    this.#exited = once(this.#child, 'exit').finally(() => {
      this.#isRunning = false;
      this.#wake();
    });
    createInterface({ input: this.#child.stdout ?? process.stdin }).on('line', (line) => {
      this.#replies.push(JSON.parse(line) as ProberReply);
      this.#wake();
    });
  }

  static async start(namespace: NetworkNamespace, mode: 'send' | 'answer'): Promise<Prober> {
    const prober = new Prober(namespace, mode);
    try {
      if ((await prober.reply('ready')) !== undefined) return prober;
    } catch (error) {
      await prober.kill();
      throw error;
    }
    throw new Error('a prober ended before it was ready');
  }

  get pid(): number {
    return this.#child.pid ?? 0;
  }

  tell(command: ProberCommand): void {
    this.#child.stdin?.write(`${JSON.stringify(command)}\n`);
  }

  /** Undefined where it has ended. */
  async reply<Type extends ProberReply['type']>(
    type: Type,
  ): Promise<Extract<ProberReply, { type: Type }> | undefined> {
    const deadline = performance.now() + replyTimeoutMs;
    for (;;) {
      const at = this.#replies.findIndex((each) => each.type === type);
      if (at >= 0) return this.#replies.splice(at, 1)[0] as Extract<ProberReply, { type: Type }>;
      if (!this.#isRunning) return undefined;
      if (performance.now() > deadline) throw new Error(`the prober does not say ${type}`);
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, 1_000);
        this.#wake = () => {
          clearTimeout(timer);
          resolve();
        };
      });
    }
  }

  async kill(): Promise<void> {
    this.#child.kill('SIGKILL');
    await this.#exited;
  }
}

/** Answers in the namespace of an Endpoint until it is stopped or killed. */
export interface Answerer {
  readonly pid: number;
  count(window: number): Promise<number>;
  /** Nobody can connect to the service any more; packets are answered as before. */
  endService(): void;
  stop(): Promise<void>;
}

export async function startAnswerer(namespace: NetworkNamespace): Promise<Answerer> {
  const prober = await Prober.start(namespace, 'answer');
  return {
    pid: prober.pid,
    async count(window) {
      prober.tell({ type: 'count', window });
      return (await prober.reply('count'))?.answered ?? 0;
    },
    endService: () => prober.tell({ type: 'endService' }),
    stop: () => prober.kill(),
  };
}

export interface Sender {
  readonly pid: number;
  begin(to: string): Promise<void>;
  redirect(to: string): void;
  /** Ends the window; asks the answerers that live. */
  end(answerers: readonly Answerer[]): Promise<ProbeResult>;
  stop(): Promise<void>;
}

let windows = 0;

export async function startSender(namespace: NetworkNamespace): Promise<Sender> {
  const prober = await Prober.start(namespace, 'send');
  let window = 0;
  let beganMs = 0;
  return {
    pid: prober.pid,
    async begin(to) {
      window = windows += 1;
      prober.tell({ type: 'begin', window, to });
      beganMs = (await prober.reply('begun'))?.atMs ?? Number.NaN;
    },
    redirect: (to) => prober.tell({ type: 'to', to }),
    async end(answerers) {
      prober.tell({ type: 'stop' });
      await prober.reply('stopped');
      const answered = await Promise.all(
        answerers.map(async (each) => [String(each.pid), await each.count(window)] as const),
      );
      prober.tell({ type: 'end', answered: Object.fromEntries(answered) });
      const ended = await prober.reply('ended');
      if (ended === undefined) throw new Error('the prober has ended');
      return resultOf(ended.losses, beganMs, ended.lateMs);
    },
    stop: () => prober.kill(),
  };
}

function resultOf(losses: Losses, beganMs: number, lateMs: number): ProbeResult {
  const { longest, last, resumedMs } = losses;
  const lostUntilMs = last && (last.first + last.packets) * intervalMs;
  return {
    ...losses,
    lateMs,
    longestMs: (longest?.packets ?? 0) * intervalMs,
    longestAtMs: longest && beganMs + longest.first * intervalMs,
    flowsAgainMs: lostUntilMs && beganMs + Math.max(lostUntilMs, resumedMs ?? 0),
  };
}
