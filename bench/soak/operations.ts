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
  /** Parts that may be killed now. */
  readonly victims: () => readonly Part[];
  /** A process is down, or an object damaged. */
  isUpset: boolean;
  readonly onError: (what: string, error: unknown) => void;
}

/** Out of 1,000 operations. */
const perMille = { part: 10, endpoint: 5, client: 5, damage: 5, vanish: 25 } as const;

/** Its name, and the work; undefined where everybody is busy. */
export interface Operation {
  readonly name: string;
  readonly run: () => Promise<void>;
}

export function nextOperation(soaked: Soaked): Operation | undefined {
  const drawn = soaked.random.integer(1_000);
  const { part, endpoint, client, damage } = perMille;
  if (!soaked.isUpset) {
    if (drawn < part) return killPart(soaked);
    if (drawn < part + endpoint) return killEndpoint(soaked);
    if (drawn < part + endpoint + client) return killClient(soaked);
    if (drawn < part + endpoint + client + damage) return damageByHand(soaked);
  }
  return memberOperation(soaked);
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
      } finally {
        soaked.isUpset = false;
      }
    },
  };
}

function killPart(soaked: Soaked): Operation | undefined {
  const part = pick(soaked.random, soaked.victims());
  return part && upsetting(soaked, `kill ${part.kind}`, () => part.kill());
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
  const member = pick(
    random,
    members.filter(({ isBusy }) => !isBusy),
  );
  if (member === undefined) return undefined;
  const drawn = random.integer(1_000);
  const alone = (name: string, work: () => Promise<void>): Operation => ({
    name,
    async run() {
      member.isBusy = true;
      try {
        await work();
      } catch (error) {
        soaked.onError(`${name} of ${member.name}`, error);
      } finally {
        member.isBusy = false;
      }
    },
  });
  if (member.isIdle) {
    const service = pick(random, services) ?? '';
    return alone('create', () => member.create(service));
  }
  if (drawn < perMille.vanish) return alone('vanish', () => member.vanish());
  if (drawn < 350) return alone('refresh', () => member.refresh());
  if (drawn < 500) return alone('reselect', () => member.reselect());
  if (drawn < 600) return alone('check', () => member.check());
  return alone('close', () => member.close());
}
