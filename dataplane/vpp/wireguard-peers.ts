// The other end of a WireGuard tunnel: one peer, to whom any address belongs.
// Invariants: VPP knows each peer's key once, so a key that another tunnel of the wire has is taken from there first; a
// failure gives it back.

import type { Budget } from '../../protocols/ports/dataplane.ts';
import type { FoundEnd, Inventory } from './inventory.ts';
import { type Operations, undoBudget } from './operations.ts';
import { peerTaken } from './refusals.ts';
import type { WireguardPart } from './wire-parts.ts';
import type { FoundPeer } from './wireguard.ts';

interface PeerJoin {
  readonly inventory: Inventory;
  readonly operations: Operations;
  readonly wireId: string;
  readonly budget: Budget;
  readonly undos: (() => Promise<unknown>)[];
}

/** The tunnel, with the one peer that it is to have. Errors: ALREADY_EXISTS where another wire has a peer with that key. */
export async function ensurePeer(
  join: PeerJoin,
  part: WireguardPart,
  found: FoundEnd,
): Promise<FoundEnd> {
  const { inventory, operations, budget, undos } = join;
  const { end, tag } = part;
  const peers = found.wireguard?.peers ?? [];
  const isTold = found.tag?.link === tag.link;
  const isThere = peers.length === 1 && peers[0]?.publicKey === end.peerPublicKey;
  if (isTold && isThere) return found;
  for (const peer of peers) await takeAway(join, found, peer);
  await freeKey(join, found, end.peerPublicKey);
  const peer = {
    publicKey: end.peerPublicKey,
    remoteIp: end.remoteIp,
    remotePort: end.remotePort,
  };
  const index = await operations.addPeer(found, peer, budget);
  undos.push(() => operations.removePeer(found, index, undoBudget));
  const before = found.tag;
  if (!isTold) {
    await operations.retag(found, tag, budget);
    if (before !== undefined) undos.push(() => operations.retag(found, before, undoBudget));
  }
  return inventory.at(found.index) ?? found;
}

async function freeKey(join: PeerJoin, found: FoundEnd, publicKey: string): Promise<void> {
  for (const holder of join.inventory.all()) {
    if (holder.index === found.index) continue;
    const peer = holder.wireguard?.peers.find((each) => each.publicKey === publicKey);
    if (peer === undefined) continue;
    if (holder.tag?.wireId !== join.wireId) throw peerTaken(join.wireId, holder);
    await takeAway(join, holder, peer);
  }
}

async function takeAway(join: PeerJoin, from: FoundEnd, peer: FoundPeer): Promise<void> {
  const { operations, budget, undos } = join;
  await operations.removePeer(from, peer.index, budget);
  undos.push(() => operations.addPeer(from, peer, undoBudget));
}
