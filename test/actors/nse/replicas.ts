// Replicas of one service that share their prefixes through one store, each with a link to it that can be cut, under one
// hand-driven clock.

import { AddressClaims } from '../../../actors/nse/address-claims.ts';
import { decodeBlocks } from '../../../actors/nse/block-records.ts';
import { Leases } from '../../../actors/nse/leases.ts';
import { SharedPools } from '../../../actors/nse/shared-pools.ts';
import { isOfScope } from '../../../actors/nse/sharing.ts';
import { NsmError } from '../../../protocols/errors.ts';
import type { IPContext } from '../../../protocols/nsm/gen/connectioncontext_pb.ts';
import { PointToPointPools } from '../../../protocols/ipam/point-to-point.ts';
import { requirePrefix } from '../../../protocols/ipam/address.ts';
import type { Journal } from '../../../protocols/ports/journal.ts';
import { type Log, silentLog } from '../../../protocols/ports/log.ts';
import type { RegistryStore, StoreChange } from '../../../protocols/ports/registry-store.ts';
import { createMemoryJournal } from '../../../transports/journal/memory-journal.ts';
import {
  createMemoryBucket,
  createMemoryRegistryStore,
} from '../../../transports/memory/registry-store.ts';
import { createManualClock, type ManualClock, settle } from '../../sandbox/manual-clock.ts';
import { seededRandom } from '../runtime/fixture.ts';
import { connectionAt } from '../connection/hop-request.ts';

export const keepMs = 60_000;
export const renewMs = 30_000;
export const holdMs = 240_000;

/** What a store far away does when the way there is cut: calls fail, and what happens is heard of later. */
class Link {
  isCut = false;
  #missed: (() => void)[] = [];

  async call<Result>(work: () => Promise<Result>): Promise<Result> {
    if (this.isCut) throw new NsmError('UNAVAILABLE', 'the store is away');
    return work();
  }

  deliver(hear: () => void): void {
    if (this.isCut) this.#missed.push(hear);
    else hear();
  }

  mend(): void {
    this.isCut = false;
    for (const hear of this.#missed.splice(0)) hear();
  }

  over(store: RegistryStore): RegistryStore {
    return {
      load: () => this.call(() => store.load()),
      put: (...args) => this.call(() => store.put(...args)),
      delete: (...args) => this.call(() => store.delete(...args)),
      watch: (listener: (change: StoreChange) => void) =>
        this.call(() => store.watch((change) => this.deliver(() => listener(change)))),
      close: () => store.close(),
    };
  }
}

export interface Told {
  readonly connectionId: string;
  readonly ipContext: IPContext;
}

export class Replica {
  readonly link = new Link();
  readonly told: string[] = [];
  readonly name: string;
  readonly #world: Replicas;
  readonly #journal: Journal = createMemoryJournal();
  leases!: Leases;
  shared!: SharedPools;

  constructor(world: Replicas, name: string) {
    this.#world = world;
    this.name = name;
  }

  /** A life of its process; an earlier one is simply not there any more. */
  async start(): Promise<void> {
    const { clock, bucket, cidr, random } = this.#world;
    const note = (message: string): void => void this.told.push(message);
    const log: Log = { ...silentLog, warn: note, error: note };
    const prefixes = [requirePrefix(cidr, 'test')];
    const pools = new PointToPointPools([prefixes]);
    const journal = this.#journal;
    this.leases = new Leases({
      clock,
      log,
      pools,
      journal,
      keepMs,
      restMs: 10_000,
      bootId: 'boot',
      policy: 'strict',
    });
    const records = await journal.load();
    this.leases.restoreIdle(records);
    const blocks = decodeBlocks(records, { bootId: 'boot', holdMs, clock, log });
    const sharing = {
      owner: blocks[0]?.owner ?? random.uuid(),
      endpoint: this.name,
      scope: 'service',
      claims: new AddressClaims(clock, log, (key) => isOfScope('service', key)),
      pools,
      book: this.leases.book,
      clock,
      log,
      holdMs,
      renewMs,
    };
    const openStore = () =>
      this.link.call(async () => this.link.over(createMemoryRegistryStore(bucket)));
    this.shared = new SharedPools({
      sharing,
      prefixes,
      bootId: 'boot',
      journal,
      random,
      openStore,
    });
    this.leases.share(this.shared);
    await this.#world.run(this.shared.start(blocks, 1_000));
  }

  /** A Request that goes through. */
  async request(client: string, brought?: IPContext, connectionId?: string): Promise<Told> {
    const id = connectionId ?? this.#world.nextId();
    const connection = connectionAt(1, [client, this.name], { id });
    const context = brought === undefined ? {} : { context: contextWith(brought) };
    const assigning = async () => this.leases.assign({ ...connection, ...context }, 1_000);
    const assignment = await this.#world.run(assigning());
    this.leases.book.settle(assignment);
    return { connectionId: id, ipContext: assignment.ipContext };
  }

  refresh(client: string, { connectionId, ipContext }: Told): Promise<Told> {
    return this.request(client, ipContext, connectionId);
  }

  close({ connectionId }: Told): Promise<void> {
    return this.leases.release(connectionId);
  }
}

export function contextWith(ipContext: IPContext) {
  return {
    $typeName: 'connectioncontext.ConnectionContext' as const,
    ipContext,
    extraContext: {},
    MTU: 0,
  };
}

export class Replicas {
  readonly clock: ManualClock = createManualClock();
  readonly bucket = createMemoryBucket();
  readonly random = seededRandom(1);
  readonly cidr: string;
  readonly all: Replica[] = [];
  #ids = 0;

  constructor(cidr: string) {
    this.cidr = cidr;
  }

  async add(name: string): Promise<Replica> {
    const replica = new Replica(this, name);
    this.all.push(replica);
    await replica.start();
    return replica;
  }

  nextId(): string {
    this.#ids += 1;
    return `connection-${this.#ids}`;
  }

  async run<T>(work: Promise<T>): Promise<T> {
    let isOver = false;
    const ended = work.finally(() => (isOver = true));
    ended.catch(() => {});
    for (let turn = 0; turn < 40 && !isOver; turn += 1) await settle();
    while (!isOver) await this.clock.advance(20);
    return ended;
  }

  /** Time passes, and everybody hears of what has happened. */
  async wait(ms: number): Promise<void> {
    const stepMs = 5_000;
    for (let spentMs = 0; spentMs < ms; spentMs += stepMs) {
      await this.clock.advance(Math.min(stepMs, ms - spentMs));
      await settle(40);
    }
  }
}
