// The chain of a passthrough Endpoint in its own namespace: keeps the two interfaces of each connection joined, whenever
// they come, go and come again. IP is routed (chain-rules.ts), anything else redirected frame by frame. Invariants: one
// program at a time; nothing is taken away that this process did not hear to leave, so that its next life goes on;
// a failure is told once, and tried again with back-off.

import { describeError, NsmError } from '../../protocols/errors.ts';
import { errno } from '../../protocols/netlink/errno.ts';
import { dumpLinks, parseLink } from '../../protocols/netlink/link.ts';
import { deleteRule, dumpRules, parseRule, type Rule } from '../../protocols/netlink/rule.ts';
import { addClsact, setRedirect } from '../../protocols/netlink/traffic-control.ts';
import { payload } from '../../protocols/nsm/mechanism.ts';
import type { Chain, ChainLink } from '../../protocols/ports/chain.ts';
import type { Clock, Timer } from '../../protocols/ports/clock.ts';
import type { Log } from '../../protocols/ports/log.ts';
import type { LinkEvent, Netlink } from '../../protocols/ports/netlink.ts';
import type { Sysctl } from '../../protocols/ports/sysctl.ts';
import {
  chainRule,
  filterTable,
  interfaceSettings,
  markDiscovery,
  moveLocalTable,
  namespaceSettings,
  routeThrough,
} from './chain-rules.ts';
import { buildProgram, type ProgramBuilder } from './program-builder.ts';
import { run } from './run.ts';

export interface KernelChainSetup {
  /** Of the namespace that the process is in. */
  readonly netlink: Netlink;
  readonly sysctl: Sysctl;
  readonly clock: Clock;
  readonly log: Log;
}

const programTimeoutMs = 10_000;
const retryMs = 100;
const retryMsMax = 10_000;

/** Errors: PERMISSION_DENIED and what the kernel lacks, before anything is joined. */
export async function createKernelChain(setup: KernelChainSetup): Promise<Chain> {
  const chain = new KernelChain(setup);
  await chain.prepare();
  return chain;
}

interface Found {
  readonly index: number;
  readonly name: string;
}

class KernelChain implements Chain {
  readonly #setup: KernelChainSetup;
  readonly #links = new Map<string, ChainLink>();
  /** What each connection was joined with last, so that a change of others costs it nothing. */
  readonly #joined = new Map<string, string>();
  /** Interfaces of connections that have left. */
  readonly #left = new Set<string>();
  #unwatch: (() => void) | undefined;
  #timer: Timer | undefined;
  #work: Promise<void> = Promise.resolve();
  #failures = 0;
  #isClosed = false;

  constructor(setup: KernelChainSetup) {
    this.#setup = setup;
  }

  async prepare(): Promise<void> {
    const { netlink } = this.#setup;
    this.#set(namespaceSettings);
    const program = buildProgram();
    program.enter();
    moveLocalTable(program);
    await run(netlink, program.finish().steps, { timeoutMs: programTimeoutMs });
    await this.#markDiscovery();
    this.#unwatch = netlink.watchLinks({ namePrefix: '', filterTable }, (event) =>
      this.#onLinkEvent(event),
    );
  }

  join(link: ChainLink): void {
    const { connectionId, upstream, downstream } = link;
    const before = this.#links.get(connectionId);
    for (const name of [before?.upstream, before?.downstream]) {
      if (name !== undefined) this.#left.add(name);
    }
    this.#left.delete(upstream);
    this.#left.delete(downstream);
    this.#links.set(connectionId, link);
    this.#soon();
  }

  leave(connectionId: string): void {
    const link = this.#links.get(connectionId);
    if (link === undefined) return;
    this.#links.delete(connectionId);
    this.#joined.delete(connectionId);
    this.#left.add(link.upstream).add(link.downstream);
    this.#soon();
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    this.#unwatch?.();
    this.#timer?.cancel();
    await this.#work;
    await this.#setup.netlink.close();
  }

  async #markDiscovery(): Promise<void> {
    const program = buildProgram();
    program.transaction(markDiscovery());
    try {
      await run(this.#setup.netlink, program.finish().steps, { timeoutMs: programTimeoutMs });
    } catch (error) {
      this.#setup.log.warn('this kernel has no nf_tables: IPv6 does not pass this Endpoint', {
        error: describeError(error),
      });
    }
  }

  /** What others change of filters and names is theirs; what this chain needs is done again when an end comes up. */
  #onLinkEvent(event: LinkEvent): void {
    if (event.kind === 'changed' || event.kind === 'filterChanged') return;
    for (const [id, ends] of this.#joined) {
      if (event.kind === 'lost' || ends.split('/').includes(String(event.index))) {
        this.#joined.delete(id);
      }
    }
    this.#soon();
  }

  #soon(delayMs = 0): void {
    if (this.#isClosed || (this.#timer !== undefined && delayMs === 0 && this.#failures === 0))
      return;
    this.#timer?.cancel();
    this.#timer = this.#setup.clock.after(delayMs, () => {
      this.#timer = undefined;
      this.#work = this.#work.then(() => this.#converge());
    });
  }

  async #converge(): Promise<void> {
    if (this.#isClosed) return;
    try {
      await this.#joinAll();
      this.#failures = 0;
    } catch (error) {
      this.#failures += 1;
      const text = describeError(error);
      if (this.#failures === 1) this.#setup.log.error('the chain is incomplete', { error: text });
      this.#soon(Math.min(retryMs * 2 ** Math.min(this.#failures, 10), retryMsMax));
    }
  }

  async #joinAll(): Promise<void> {
    const { netlink } = this.#setup;
    const { found, rules } = await this.#look();
    const program = buildProgram();
    program.enter();
    const joined = new Map<string, string>();
    for (const link of this.#links.values()) {
      const ends = [found.get(link.upstream), found.get(link.downstream)] as const;
      const key = ends.map((end) => end?.index ?? 0).join('/');
      if (this.#joined.get(link.connectionId) === key) continue;
      joined.set(link.connectionId, key);
      if (link.payload === payload.ip) this.#joinByRoutes(program, link, ends);
      else joinByRedirect(program, ends);
    }
    this.#removeOld(program, found, rules);
    await run(netlink, program.finish().steps, { timeoutMs: programTimeoutMs });
    for (const [id, key] of joined) if (this.#links.has(id)) this.#joined.set(id, key);
  }

  /** A direction is ready as soon as its outgoing end is there: the rule waits for the other by its name. */
  #joinByRoutes(
    program: ProgramBuilder,
    link: ChainLink,
    [upstream, downstream]: readonly [Found | undefined, Found | undefined],
  ): void {
    for (const end of [upstream, downstream]) {
      if (end !== undefined) this.#set(interfaceSettings(end.name));
    }
    if (downstream !== undefined) routeThrough(program, link.upstream, downstream);
    if (upstream !== undefined) routeThrough(program, link.downstream, upstream);
  }

  /** Rules of connections that have left, and those that lead to an interface that has been made anew since. */
  #removeOld(
    program: ProgramBuilder,
    found: ReadonlyMap<string, Found>,
    rules: readonly Rule[],
  ): void {
    const wanted = new Map<string, number>();
    for (const { upstream, downstream } of this.#links.values()) {
      const [up, down] = [found.get(upstream)?.index, found.get(downstream)?.index];
      if (down !== undefined) wanted.set(upstream, down);
      if (up !== undefined) wanted.set(downstream, up);
    }
    for (const rule of rules) {
      const { incoming = '', family, table } = rule;
      const index = wanted.get(incoming);
      const isReplaced = index !== undefined && chainRule(family, incoming, index).table !== table;
      if (incoming === '' || !(isReplaced || this.#left.has(incoming))) continue;
      program.add(`remove a rule for ${incoming}`, deleteRule(rule), {
        tolerate: [errno.noEntry],
      });
    }
    this.#left.clear();
  }

  async #look(): Promise<{
    readonly found: ReadonlyMap<string, Found>;
    readonly rules: readonly Rule[];
  }> {
    const program = buildProgram();
    program.enter();
    program.add('list the links', dumpLinks());
    program.add('list the rules', dumpRules());
    const budget = { timeoutMs: programTimeoutMs };
    const answers = await run(this.#setup.netlink, program.finish().steps, budget);
    const [links, rules] = answers.flat();
    const present = (links?.messages ?? []).flatMap((message) => parseLink(message) ?? []);
    return {
      found: new Map(present.map(({ index, name }) => [name, { index, name }])),
      rules: (rules?.messages ?? []).flatMap((message) => {
        const each = parseRule(message);
        return each?.isOurs === true ? [each.rule] : [];
      }),
    };
  }

  /** An interface that is gone again, or a family that the kernel lacks, has no settings. */
  #set(settings: readonly (readonly [string, string])[]): void {
    for (const [name, value] of settings) {
      try {
        this.#setup.sysctl.set(name, value);
      } catch (error) {
        if (!(error instanceof NsmError) || error.code !== 'NOT_FOUND') throw error;
      }
    }
  }
}

function joinByRedirect(
  program: ProgramBuilder,
  [upstream, downstream]: readonly [Found | undefined, Found | undefined],
): void {
  if (upstream === undefined || downstream === undefined) return;
  for (const { index, name } of [upstream, downstream]) {
    program.add(`add a filter hook to ${name}`, addClsact(index), { tolerate: [errno.exists] });
  }
  program.add(`redirect ${upstream.name}`, setRedirect(upstream.index, downstream.index));
  program.add(`redirect ${downstream.name}`, setRedirect(downstream.index, upstream.index));
}
