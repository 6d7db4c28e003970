// Protects replicas that share a prefix from each other: no two give one address to two clients, with the store there or
// away; a client that heals keeps its address on another replica without a word from the one that is gone; what a dead
// replica had is free again in time and not before; a conflict that a partition made ends with one of the two.

import { describe, expect, it } from 'vitest';
import { holdMs, keepMs, renewMs, Replica, Replicas, type Told } from './replicas.ts';

const addressOf = ({ ipContext }: Told): string => ipContext.srcIpAddrs.join();

async function three() {
  const world = new Replicas('10.0.0.0/24');
  return { world, a: await world.add('a'), b: await world.add('b'), c: await world.add('c') };
}

describe('replicas of one prefix', () => {
  it('hold a block each before the first Request, and give no address twice', async () => {
    const { a, b, c } = await three();
    for (const { shared } of [a, b, c]) expect(shared.blocks).toHaveLength(1);
    const told: string[] = [];
    for (let round = 0; round < 30; round += 1) {
      for (const replica of [a, b, c]) {
        told.push(addressOf(await replica.request(`${replica.name}-${round}`)));
      }
    }
    expect(new Set(told).size).toBe(90);
  });

  it('claim more before they have run out, and give back what is not needed any more', async () => {
    const world = new Replicas('10.0.0.0/24');
    const a = await world.add('a');
    const told: Told[] = [];
    for (let index = 0; index < 40; index += 1) told.push(await a.request(`client-${index}`));
    await world.wait(1_000);
    expect(a.shared.blocks).toHaveLength(6);
    for (const each of told) await a.close(each);
    await world.wait(keepMs + 3 * renewMs);
    expect(a.shared.blocks.length).toBeLessThan(3);
  });

  it('refuse only when all blocks are taken', async () => {
    const world = new Replicas('10.0.0.0/30');
    const [a, b, c] = [await world.add('a'), await world.add('b'), await world.add('c')];
    await a.request('one');
    await b.request('two');
    await expect(c.request('three')).rejects.toMatchObject({ code: 'RESOURCE_EXHAUSTED' });
    expect(c.told).toContain('no block of addresses is left for this replica');
  });
});

describe('a store that is away', () => {
  it('stops no replica that has blocks, and is told once', async () => {
    const { world, a, b } = await three();
    a.link.isCut = true;
    await world.wait(10 * renewMs);
    const told = [await a.request('one'), await a.request('two'), await b.request('three')];
    expect(new Set(told.map(addressOf)).size).toBe(3);
    expect(a.told).toEqual([
      'the store of address blocks is away; this replica goes on with what it has',
    ]);
    a.link.mend();
    await world.wait(60_000);
    for (let index = 0; index < 20; index += 1) await a.request(`later-${index}`);
  });

  it('gives a new replica nothing to give, which says why; it serves as soon as the store is back', async () => {
    const world = new Replicas('10.0.0.0/24');
    await world.add('a');
    const late = new Replica(world, 'late');
    late.link.isCut = true;
    await late.start();
    await expect(late.request('one')).rejects.toMatchObject({
      code: 'RESOURCE_EXHAUSTED',
      message: 'this replica has no block of addresses left',
    });
    late.link.mend();
    await late.request('one');
  });

  it('a replica that starts again meanwhile goes on with the blocks of its last life', async () => {
    const { a, world } = await three();
    const blocks = a.shared.blocks;
    const before = await a.request('one');
    await a.close(before);
    a.link.isCut = true;
    await a.start();
    expect(a.shared.blocks).toEqual(blocks);
    expect(addressOf(await a.request('one'))).toBe(addressOf(before));
    await world.wait(renewMs);
  });
});

describe('a client that heals', () => {
  it('keeps its address on another replica while the dead one says nothing', async () => {
    const { world, a, b, c } = await three();
    const before = await a.request('client');
    a.link.isCut = true;
    const after = await b.request('client', before.ipContext);
    expect(addressOf(after)).toBe(addressOf(before));
    await world.wait(renewMs);
    // Nor does anybody else get it, who names it too.
    const other = await c.request('other', before.ipContext);
    expect(addressOf(other)).not.toBe(addressOf(before));
    const again = await c.request('client', after.ipContext);
    expect(addressOf(again)).toBe(addressOf(before));
  });

  it('keeps it when the dead replica’s block has a new owner', async () => {
    const { world, a, b } = await three();
    let guest = await b.request('client', (await a.request('client')).ipContext);
    a.link.isCut = true;
    await world.wait(holdMs + renewMs);
    const told: string[] = [];
    const others = [await world.add('d'), await world.add('e'), ...world.all.slice(1, 3)];
    for (let round = 0; round < 30; round += 1) {
      for (const each of others) told.push(addressOf(await each.request(`${each.name}-${round}`)));
    }
    expect(told).not.toContain(addressOf(guest));
    expect(new Set(told).size).toBe(told.length);
    guest = await b.refresh('client', guest);
    expect(told).not.toContain(addressOf(guest));
  });

  it('comes back to the replica whose address it is, and has it there', async () => {
    const { world, a, b } = await three();
    const first = await a.request('client');
    const second = await b.request('client', first.ipContext);
    await a.close(first);
    await world.wait(1_000);
    const third = await a.request('client', second.ipContext);
    expect(addressOf(third)).toBe(addressOf(first));
    await b.close(second);
    await world.wait(renewMs);
    expect(addressOf(await a.refresh('client', third))).toBe(addressOf(first));
    expect(addressOf(await b.request('other'))).not.toBe(addressOf(first));
  });

  it('that has left for good frees the address for the replica whose block it is', async () => {
    const world = new Replicas('10.0.0.0/29');
    const [a, b] = [await world.add('a'), await world.add('b')];
    const first = await a.request('client');
    const second = await b.request('client', first.ipContext);
    await a.close(first);
    await b.close(second);
    await world.wait(2 * keepMs + 2 * renewMs);
    expect([...world.bucket.entries.keys()].filter((key) => key.startsWith('guest/'))).toEqual([]);
    const told = [await a.request('x'), await a.request('y')].map(addressOf);
    expect(told).toContain(addressOf(first));
  });
});

describe('a replica that is gone', () => {
  it('keeps its block for as long as anybody may use it, then others have it', async () => {
    const world = new Replicas('10.0.0.0/30');
    const [a, b] = [await world.add('a'), await world.add('b')];
    await b.request('one');
    a.link.isCut = true;
    await world.wait(holdMs - renewMs);
    await expect(b.request('two')).rejects.toMatchObject({ code: 'RESOURCE_EXHAUSTED' });
    await world.wait(2 * renewMs);
    await b.request('two');
  });

  it('gives its block back at once where it ends in order and nobody is connected', async () => {
    const world = new Replicas('10.0.0.0/30');
    const [a, b] = [await world.add('a'), await world.add('b')];
    await b.request('one');
    await a.shared.stop();
    await world.wait(1_000);
    await b.request('two');
  });
});

describe('a conflict that a partition made', () => {
  it('is settled: the replica that came back moves its client, and says so', async () => {
    const world = new Replicas('10.0.0.0/30');
    const [a, b] = [await world.add('a'), await world.add('b')];
    let ours = await a.request('ours');
    await b.request('other');
    const lost: string[] = [];
    a.shared.whenLost((connectionId) => void lost.push(connectionId));
    a.link.isCut = true;
    await world.wait(holdMs + 2 * renewMs);
    const theirs = await b.request('theirs');
    expect(addressOf(theirs)).toBe(addressOf(ours));
    a.link.mend();
    await world.wait(3 * renewMs);
    expect(a.told).toContain('another replica holds a block of addresses that this one had');
    expect(a.told).toContain('an address is used twice; its client here moves at its next refresh');
    expect(new Set(lost)).toEqual(new Set([ours.connectionId]));
    await expect(a.refresh('ours', ours)).rejects.toMatchObject({ code: 'RESOURCE_EXHAUSTED' });
    await b.close(theirs);
    await world.wait(keepMs + 3 * renewMs);
    ours = await a.refresh('ours', ours);
    expect(addressOf(ours)).not.toBe('');
  });

  it('that is none leaves everybody their address: only the block has another owner', async () => {
    const { world, a, b } = await three();
    const ours = await a.request('ours');
    a.link.isCut = true;
    await world.wait(holdMs + renewMs);
    const told: string[] = [];
    for (let round = 0; round < 12; round += 1) told.push(addressOf(await b.request(`b-${round}`)));
    a.link.mend();
    await world.wait(3 * renewMs);
    const after = await a.refresh('ours', ours);
    expect(told).not.toContain(addressOf(after));
  });

  it('a store that has lost everything is filled again by those who hold blocks', async () => {
    const { world, a, b, c } = await three();
    const before = [a, b, c].map(({ shared }) => shared.blocks);
    world.bucket.entries.clear();
    for (const listener of world.bucket.listeners) listener({ kind: 'reset' });
    await world.wait(1_000);
    expect([a, b, c].map(({ shared }) => shared.blocks)).toEqual(before);
    expect([...world.bucket.entries.keys()]).toHaveLength(3);
  });
});
