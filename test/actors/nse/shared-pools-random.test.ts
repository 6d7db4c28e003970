// Protects the promise that no two live wires of a service share an address, over random lives of three replicas: clients
// come, go, and move make-before-break, replicas start anew, links to the store are cut and mended. While every link holds
// it is never broken; what a cut link has broken is mended once everybody has refreshed.

import { expect, it } from 'vitest';
import { formatPrefix } from '../../../protocols/ipam/address.ts';
import { seededRandom } from '../runtime/fixture.ts';
import { keepMs, type Replica, renewMs, Replicas, type Told } from './replicas.ts';

interface Client {
  readonly name: string;
  replica: Replica;
  told: Told;
}

const seeds = 25;
const steps = 60;

class Run {
  readonly #world = new Replicas('10.0.0.0/27');
  readonly #random: ReturnType<typeof seededRandom>;
  readonly #clients = new Map<string, Client>();
  #names = 0;
  /** Since somebody was cut off and not everything has settled: two may share an address. */
  #isTroubled = false;

  constructor(seed: number) {
    this.#random = seededRandom(seed);
  }

  async go(withCuts: boolean): Promise<void> {
    for (const name of ['a', 'b', 'c']) await this.#world.add(name);
    for (let step = 0; step < steps; step += 1) {
      await this.#step(withCuts);
      if (!this.#isTroubled) this.#check(`step ${step}`);
    }
    for (const { link } of this.#world.all) link.mend();
    // Refreshes that are refused for want of addresses may be served after one more round.
    for (let round = 0; round < 3; round += 1) {
      await this.#world.wait(2 * renewMs + keepMs);
      for (const client of this.#clients.values()) await this.#refresh(client);
    }
    await this.#world.wait(renewMs);
    this.#check('the end');
    for (const { replica, told } of this.#clients.values()) await replica.close(told);
    await this.#world.wait(2 * keepMs + 4 * renewMs);
    const guests = [...this.#world.bucket.entries.keys()].filter((key) => key.startsWith('guest/'));
    expect(guests, 'claims of guests that nobody needs').toEqual([]);
    for (const { leases } of this.#world.all) expect(leases.book.idleCount).toBe(0);
  }

  async #step(withCuts: boolean): Promise<void> {
    const replica = this.#one(this.#world.all);
    const client = this.#one([...this.#clients.values()]);
    switch (this.#random.integer(withCuts ? 9 : 6)) {
      case 0:
      case 1:
        await this.#come(replica);
        break;
      case 2:
        if (client !== undefined) await this.#leave(client);
        break;
      case 3:
        if (client !== undefined) await this.#move(client, replica);
        break;
      case 4:
        if (client !== undefined) await this.#refresh(client);
        break;
      case 5:
        await this.#world.wait(this.#random.integer(renewMs));
        break;
      case 6:
        if (replica !== undefined) replica.link.isCut = true;
        this.#isTroubled = true;
        break;
      case 7:
        replica?.link.mend();
        break;
      default:
        await this.#world.wait(keepMs);
    }
  }

  #one<Each>(all: readonly Each[]): Each | undefined {
    return all[this.#random.integer(Math.max(1, all.length))];
  }

  async #come(replica: Replica | undefined): Promise<void> {
    if (replica === undefined) return;
    this.#names += 1;
    const name = `client-${this.#names}`;
    const told = await orRefused(replica.request(name));
    if (told !== undefined) this.#clients.set(name, { name, replica, told });
  }

  async #leave({ name, replica, told }: Client): Promise<void> {
    this.#clients.delete(name);
    await replica.close(told);
  }

  async #move(client: Client, to: Replica | undefined): Promise<void> {
    if (to === undefined || to === client.replica) return;
    const told = await orRefused(to.request(client.name, client.told.ipContext));
    if (told === undefined) return;
    const { replica: from, told: before } = client;
    Object.assign(client, { replica: to, told });
    await from.close(before);
  }

  async #refresh(client: Client): Promise<void> {
    const told = await orRefused(client.replica.refresh(client.name, client.told));
    if (told !== undefined) client.told = told;
    // A client whose refresh is refused heals: it is served by whoever can.
    else await this.#heal(client);
  }

  #check(when: string): void {
    const all = [...this.#clients.values()].map(({ told }) => addressOf(told));
    if (new Set(all).size !== all.length)
      expect.fail(`${when}: an address twice\n${this.#facts()}`);
  }

  async #heal(client: Client): Promise<void> {
    const { replica } = client;
    for (const other of this.#world.all) {
      if (client.replica === replica) await this.#move(client, other);
    }
  }

  #facts(): string {
    const clients = [...this.#clients.values()].map(
      ({ name, replica, told }) => `${addressOf(told)} ${name} at ${replica.name}`,
    );
    const replicas = this.#world.all.map(
      ({ name, link, shared, told }) =>
        `${name}: ${shared.blocks.map(formatPrefix).join()}${link.isCut ? ', cut off' : ''}, ${told.join()}`,
    );
    const claims = [...this.#world.bucket.entries.keys()];
    return [...clients, ...replicas, ...claims].toSorted().join('\n');
  }
}

const addressOf = ({ ipContext }: Told): string => ipContext.srcIpAddrs.join();

async function orRefused(asking: Promise<Told>): Promise<Told | undefined> {
  try {
    return await asking;
  } catch (error) {
    expect(error).toMatchObject({ code: 'RESOURCE_EXHAUSTED' });
    return undefined;
  }
}

it('no two clients share an address while the store is there', async () => {
  for (let seed = 1; seed <= seeds; seed += 1) {
    await new Run(seed).go(false).catch((error: unknown) => {
      throw new Error(`seed ${seed}`, { cause: error });
    });
  }
}, 120_000);

it('no two clients share an address once a partition is over and all have refreshed', async () => {
  for (let seed = 1; seed <= seeds; seed += 1) {
    await new Run(seed).go(true).catch((error: unknown) => {
      throw new Error(`seed ${seed}`, { cause: error });
    });
  }
}, 120_000);
