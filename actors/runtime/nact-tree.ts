// The only file that knows nact: the tree of nact actors that ours live on, their names, and their turns.
// Our cell is the nact actor's state, so that no closure is made per actor; a turn drains a batch of messages.
// Invariants: nact never sees an exception, a user's message, or more than one outstanding turn per actor; nact
// copies a parent's children on each of its turns, so children beyond a few go under shard nodes that never run.

import * as nact from 'nact';
import { encodeName } from './name-codec.ts';

/** Children that hang directly below their parent; nact's cost per turn grows with them. */
const directChildrenMax = 32;
const shardCount = 256;
/** Never produced by `encodeName`. */
const nurseryName = '!';

export type NactNode = nact.Ref<unknown>;

/** What gets turns. */
export interface Turns {
  /** Never throws. */
  runTurn(): void;
}

/** Shard nodes below one parent, made when it gets many children. */
export interface Nursery {
  readonly node: NactNode;
  readonly shards: (NactNode | undefined)[];
}

const turnMessage = null;
let systemsStarted = 0;

/** A tree of its own: nact keeps systems in a table by name, so the name counts up within the process. */
export function startTree(): NactNode {
  systemsStarted += 1;
  const options = { name: `vwire-${systemsStarted}` };
  return nact.start(options as unknown as string);
}

export function spawnNode(parent: NactNode, name: string, turns: Turns): NactNode {
  return nact.spawn(parent, runTurn, encodeName(name), {
    initialState: turns,
    afterStop: nothing,
  });
}

export function startNursery(parent: NactNode): Nursery {
  return { node: spawnRaw(parent, nurseryName), shards: [] };
}

export function shardFor(nursery: Nursery, name: string): NactNode {
  const index = hashOf(name) % shardCount;
  const known = nursery.shards[index];
  if (known !== undefined) return known;
  const made = spawnRaw(nursery.node, `${nurseryName}${index}`);
  nursery.shards[index] = made;
  return made;
}

export function isManyChildren(count: number): boolean {
  return count >= directChildrenMax;
}

/** Asks nact for a turn; at most one may be outstanding. */
export function requestTurn(node: NactNode): void {
  nact.dispatch(node, turnMessage);
}

/** Takes a node out of nact's tree. Its children must be gone: nact's own cascade does not work. */
export function stopNode(node: NactNode): void {
  nact.stop(node);
}

export function stopNursery(nursery: Nursery): void {
  for (const shard of nursery.shards) if (shard !== undefined) nact.stop(shard);
  nact.stop(nursery.node);
}

function runTurn(turns: Turns): Turns {
  turns.runTurn();
  return turns;
}

function spawnRaw(parent: NactNode, name: string): NactNode {
  return nact.spawn(parent, nothing, name, { afterStop: nothing });
}

function nothing(): void {}

/** FNV-1a over UTF-16 units, 32 bits. */
function hashOf(name: string): number {
  let hash = 0x811c9dc5;
  for (let index = 0; index < name.length; index += 1) {
    hash = Math.imul(hash ^ name.charCodeAt(index), 0x01000193);
  }
  return hash >>> 0;
}
