// Addresses and mirrored routes in a connection's IPContext: put leased pairs in, take others out.
// The client's address is in `src_ip_addrs` and routed to by `dst_routes`, the Endpoint's the other way round.
// Invariant: a context that says the same already is returned as it is; unknown fields and other routes stay.

import { create } from '@bufbuild/protobuf';
import { type IPContext, type Route, RouteSchema } from '../nsm/gen/connectioncontext_pb.ts';
import { formatPrefix, isHostPrefix, parsePrefix, type Prefix } from './address.ts';

/** The host prefixes among the texts, in order; others are left out. */
export function addressesIn(texts: readonly string[]): readonly Prefix[] {
  return texts.flatMap((text) => {
    const prefix = parsePrefix(text);
    return prefix !== undefined && isHostPrefix(prefix) ? [prefix] : [];
  });
}

export interface PairChange {
  /** What the connection holds now. */
  readonly pairs: readonly { readonly src: Prefix; readonly dst: Prefix }[];
  /** What it held before and does not any more. */
  readonly dropped: readonly { readonly src: Prefix; readonly dst: Prefix }[];
  /** Whether addresses that are neither stay. */
  readonly keepForeign: boolean;
}

/** The context with exactly these pairs and the routes between their ends. */
export function withPairs(context: IPContext, change: PairChange): IPContext {
  const src = ends(context.srcIpAddrs, change, ({ src: end }) => end);
  const dst = ends(context.dstIpAddrs, change, ({ dst: end }) => end);
  const srcRoutes = routesTo(context.srcRoutes, dst);
  const dstRoutes = routesTo(context.dstRoutes, src);
  const isSame =
    sameTexts(src.texts, context.srcIpAddrs) &&
    sameTexts(dst.texts, context.dstIpAddrs) &&
    sameTexts(srcRoutes.map(prefixOfRoute), context.srcRoutes.map(prefixOfRoute)) &&
    sameTexts(dstRoutes.map(prefixOfRoute), context.dstRoutes.map(prefixOfRoute));
  if (isSame) return context;
  return { ...context, srcIpAddrs: src.texts, dstIpAddrs: dst.texts, srcRoutes, dstRoutes };
}

interface Ends {
  readonly texts: string[];
  /** Of the leased ends, in canonical form. */
  readonly leased: readonly string[];
  readonly removed: ReadonlySet<string>;
}

type EndOf = (pair: { readonly src: Prefix; readonly dst: Prefix }) => Prefix;

function ends(present: readonly string[], change: PairChange, endOf: EndOf): Ends {
  const leased = change.pairs.map((pair) => formatPrefix(endOf(pair)));
  const dropped = new Set(change.dropped.map((pair) => formatPrefix(endOf(pair))));
  const removed = new Set<string>();
  const texts: string[] = [];
  for (const text of present) {
    const canonical = canonicalOf(text);
    const stays = leased.includes(canonical) || (change.keepForeign && !dropped.has(canonical));
    if (!stays) removed.add(canonical);
    else if (!texts.includes(canonical)) texts.push(canonical);
  }
  for (const each of leased) if (!texts.includes(each)) texts.push(each);
  return { texts, leased, removed };
}

function routesTo(present: readonly Route[], target: Ends): Route[] {
  const routes = present.filter((route) => !target.removed.has(canonicalOf(route.prefix)));
  const known = new Set(routes.map((route) => canonicalOf(route.prefix)));
  for (const prefix of target.leased) {
    if (!known.has(prefix)) routes.push(create(RouteSchema, { prefix }));
  }
  return routes;
}

/** CIDR text in its canonical form, host bits kept where it is an interface address; other text as it is. */
function canonicalOf(text: string): string {
  const prefix = parsePrefix(text);
  return prefix === undefined || !isHostPrefix(prefix) ? text : formatPrefix(prefix);
}

function prefixOfRoute(route: Route): string {
  return route.prefix;
}

function sameTexts(left: readonly string[], right: readonly string[]): boolean {
  return left.length === right.length && left.every((text, index) => text === right[index]);
}
