// One random operation of a soak: what may happen to a connection, to a process, to a namespace, to the kernel's
// objects. Invariants: which operation follows from the seed; at most one process is down and at most one damage is
// under way at a time; what an operation may not break is checked by others.

import type { Random } from '../../protocols/ports/random.ts';
import { deleteLinks, deleteRedirects, taggedLinks } from '../chaos/damage.ts';
import type { Part } from '../chaos/parts.ts';
import type { ChaosEndpoint, ChaosWire, Scene } from '../chaos/scene.ts';
import type { Member } from './cast.ts';

export interface Soaked {
  readonly scene: Scene;
  readonly members: readonly Member[];
  readonly services: readonly string[];
  readonly random: Random;
  /** Of 1,000 operations, how many kill or damage. */
  readonly trouble: number;
  /** Parts that may be killed now. */
  readonly victims: () => readonly Part[];
  /** A process is down, or an object damaged. */
  isUpset: boolean;
  /** An operation that could not be done, as happens while something is down. */
  readonly onRefused: (what: string, error: unknown) => void;
  /** A wire does not carry packets, or a process does not come back. */
  readonly onBroken: (what: string, error: unknown) => void;
}

/** Of 1,000 operations, how many kill or damage. */
export const troubleDefault = 25;
/** Of those, what kills a part, an Endpoint or a client; the rest damages a wire. */
const shares = { part: 0.4, endpoint: 0.2, client: 0.2 } as const;
/** Of 1,000 operations with a member that holds a wire. */
const perMille = { vanish: 25, refresh: 325, reselect: 150, check: 100 } as const;

/** Its name, and the work; undefined where everybody is busy. */
export interface Operation {
  readonly name: string;
  readonly run: () => Promise<void>;
}

export function nextOperation(soaked: Soaked): Operation | undefined {
  const drawn = soaked.random.integer(1_000);
  const isTrouble = drawn < soaked.trouble && !soaked.isUpset;
  return isTrouble ? troubleOf(soaked, drawn / soaked.trouble) : memberOperation(soaked);
}

function troubleOf(soaked: Soaked, drawn: number): Operation | undefined {
  const { part, endpoint, client } = shares;
  if (drawn < part) return killPart(soaked);
  if (drawn < part + endpoint) return killEndpoint(soaked);
  if (drawn < part + endpoint + client) return killClient(soaked);
  return damageByHand(soaked);
}

function pick<Item>(random: Random, items: readonly Item[]): Item | undefined {
  return items[random.integer(Math.max(1, items.length))];
}

/** Nothing else of its kind happens meanwhile. */
function upsetting(soaked: Soaked, name: string, work: () => Promise<void>): Operation {
  return {
    name,
    async run() {
      soaked.isUpset = true;
      try {
        await work();
      } catch (error) {
        soaked.onBroken(name, error);
      } finally {
        soaked.isUpset = false;
      }
    },
  };
}

function killPart(soaked: Soaked): Operation | undefined {
  const part = pick(soaked.random, soaked.victims());
  return part && upsetting(soaked, `kill ${part.name}`, () => part.kill());
}

function killEndpoint(soaked: Soaked): Operation | undefined {
  const endpoint: ChaosEndpoint | undefined = pick(soaked.random, soaked.scene.endpoints);
  if (endpoint === undefined) return undefined;
  return upsetting(soaked, 'kill nse', async () => {
    await endpoint.kill();
    await endpoint.start();
  });
}

function killClient(soaked: Soaked): Operation | undefined {
  const wire: ChaosWire | undefined = pick(soaked.random, soaked.scene.wires);
  return wire && upsetting(soaked, 'kill nsc', () => wire.killClient());
}

/** A tunnel deleted, or a cross connect taken away, on either node. */
function damageByHand(soaked: Soaked): Operation | undefined {
  const { random, scene } = soaked;
  const { netlink, nodes } = scene.stage;
  const node = pick(random, nodes);
  if (node === undefined) return undefined;
  const isTunnel = random.integer(2) === 0;
  return upsetting(soaked, isTunnel ? 'damage tunnel' : 'damage redirect', async () => {
    const link = pick(random, await taggedLinks(netlink, node, isTunnel ? 'tunnel' : 'client'));
    if (link === undefined) return;
    const act = isTunnel ? deleteLinks : deleteRedirects;
    // The wire may have been closed in between.
    await act(netlink, node, [link]).catch(() => {});
  });
}

function memberOperation(soaked: Soaked): Operation | undefined {
  const { random, members, services } = soaked;
  const free = members.filter(({ isBusy }) => !isBusy);
  const member = free.find(({ isDue }) => isDue === true) ?? pick(random, free);
  if (member === undefined) return undefined;
  const name = nameOf(member, random.integer(1_000));
  const work = {
    create: () => member.create(pick(random, services) ?? ''),
    refresh: () => member.refresh?.(),
    reselect: () => member.reselect?.(),
    vanish: () => member.vanish(),
    check: () => member.check(),
    close: () => member.close(),
    'close what may be over': () => member.close(),
  }[name];
  return {
    name,
    async run() {
      member.isBusy = true;
      try {
        await work();
      } catch (error) {
        const tell = name === 'check' ? soaked.onBroken : soaked.onRefused;
        tell(name, error);
      } finally {
        member.isBusy = false;
      }
    },
  };
}

function nameOf(member: Member, drawn: number) {
  if (member.isIdle) return 'create';
  if (member.mayBeOver === true) return 'close what may be over';
  if (member.isDue === true) return 'refresh';
  const { vanish, refresh, reselect, check } = perMille;
  if (drawn < vanish) return 'vanish';
  // Its Request had no answer.
  if (member.endpoint === undefined) return 'close';
  // Who does it by itself is looked at instead.
  if (drawn < vanish + refresh) return member.refresh === undefined ? 'check' : 'refresh';
  if (drawn < vanish + refresh + reselect) {
    return member.reselect === undefined ? 'check' : 'reselect';
  }
  return drawn < vanish + refresh + reselect + check ? 'check' : 'close';
}
