// What the kernel's event messages mean for the links and the table that are watched: pure, fed by the worker.
// Invariants: only news is told, each link's at most once per batch; what the own programs do to filters and tables is
// told apart by the port that every such event names, what they do to links by being no loss of anything finished.

import type { NetlinkMessage } from '../../protocols/netlink/codec.ts';
import { readU32 } from '../../protocols/netlink/codec.ts';
import { parseNeighbor } from '../../protocols/netlink/address.ts';
import { family, messageType, neighborState } from '../../protocols/netlink/constants.ts';
import { type Link, parseLink } from '../../protocols/netlink/link.ts';
import { parseNamespaceId } from '../../protocols/netlink/namespace-id.ts';
import { tableOfEvent } from '../../protocols/netlink/nftables.ts';
import type { LinkEvent, WatchScope } from '../../protocols/ports/netlink.ts';

/** Ports of the sockets that the own programs use. */
export interface OwnPorts {
  readonly route: number;
  readonly netfilter: number;
}

/** What of a link is compared with its next event. */
type Seen = Pick<Link, 'name' | 'alias' | 'isUp' | 'isRunning' | 'master' | 'linkNamespaceId'>;

/** Offset of the index in tcmsg and ndmsg. */
const indexOffset = 4;
/** Our tags end so once a link is finished; what happens to it before is its maker's doing. */
const finished = / done$/;

const tcTypes: readonly number[] = [
  messageType.newQdisc,
  messageType.delQdisc,
  messageType.newFilter,
  messageType.delFilter,
];

export class KernelEvents {
  readonly #scope: WatchScope;
  readonly #links = new Map<number, Seen>();

  constructor(scope: WatchScope) {
    this.#scope = scope;
  }

  /** What is there when listening begins, so that the first change of an old link is told from a new link. */
  seed(messages: readonly NetlinkMessage[]): void {
    for (const message of messages) {
      const link = parseLink(message);
      if (link?.name.startsWith(this.#scope.namePrefix)) this.#links.set(link.index, seenOf(link));
    }
  }

  /** Messages of the route socket. */
  route(messages: readonly NetlinkMessage[], own: OwnPorts): LinkEvent[] {
    const events: LinkEvent[] = [];
    const changed = new Set<number>();
    for (const message of messages) {
      const { type, payload, port } = message;
      if (type === messageType.newLink || type === messageType.delLink) {
        // Bridges tell of their ports in messages of their own.
        if (payload[0] === family.unspecified) events.push(...this.#link(message, changed));
      } else if (type === messageType.newNeighbor) {
        events.push(...failedNeighbor(message));
      } else if (type === messageType.delNamespaceId) {
        events.push(...this.#namespaceGone(parseNamespaceId(message)));
      } else if (
        type === messageType.delNeighbor ||
        (tcTypes.includes(type) && port !== own.route)
      ) {
        const isForwarding = type !== messageType.delNeighbor || payload[0] === family.bridge;
        const index = readU32(payload, indexOffset) ?? 0;
        if (isForwarding && this.#links.has(index)) changed.add(index);
      }
    }
    return [...events, ...[...changed].map((index) => ({ kind: 'changed', index }) as const)];
  }

  /** Messages of the netfilter socket. */
  netfilter(messages: readonly NetlinkMessage[], own: OwnPorts): LinkEvent[] {
    const isOthers = messages.some(
      (message) =>
        message.port !== own.netfilter && tableOfEvent(message) === this.#scope.filterTable,
    );
    return isOthers ? [{ kind: 'filterChanged' }] : [];
  }

  *#link(message: NetlinkMessage, changed: Set<number>): Generator<LinkEvent> {
    const link = parseLink(message);
    if (link === undefined) return;
    const { index } = link;
    const before = this.#links.get(index);
    if (before === undefined && !link.name.startsWith(this.#scope.namePrefix)) return;
    if (message.type === messageType.delLink) {
      this.#links.delete(index);
      changed.delete(index);
      yield { kind: 'gone', index };
      return;
    }
    // A link whose namespace ends has no id any more before it is told to be gone.
    const namespaceId = link.linkNamespaceId ?? before?.linkNamespaceId;
    this.#links.set(index, { ...seenOf(link), linkNamespaceId: namespaceId });
    if (link.isRunning && before?.isRunning !== true) yield { kind: 'running', index };
    else if (!link.isRunning && before?.isRunning === true) yield { kind: 'notRunning', index };
    if (before !== undefined && isDamage(before, link)) changed.add(index);
  }

  *#namespaceGone(id: number | undefined): Generator<LinkEvent> {
    if (id === undefined) return;
    for (const [index, { linkNamespaceId }] of this.#links) {
      if (linkNamespaceId === id) yield { kind: 'namespaceGone', index };
    }
  }
}

function* failedNeighbor(message: NetlinkMessage): Generator<LinkEvent> {
  const neighbor = parseNeighbor(message);
  if (neighbor === undefined || (neighbor.state & neighborState.failed) === 0) return;
  yield { kind: 'neighborFailed', index: neighbor.index, ip: neighbor.ip };
}

function seenOf({ name, alias, isUp, isRunning, master, linkNamespaceId }: Link): Seen {
  return { name, alias, isUp, isRunning, master, linkNamespaceId };
}

function isDamage(before: Seen, now: Seen): boolean {
  if (!finished.test(before.alias)) return false;
  return (
    (before.isUp && !now.isUp) ||
    before.alias !== now.alias ||
    before.name !== now.name ||
    (before.master !== 0 && before.master !== now.master)
  );
}
