// Addresses, extra prefixes and their routes in a connection's IPContext: put what is leased in, take the rest out.
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
  /** What the connection holds. */
  readonly pairs: readonly { readonly src: Prefix; readonly dst: Prefix }[];
  /** Addresses that it does not hold and may carry all the same, in canonical form. */
  readonly kept: { readonly src: ReadonlySet<string>; readonly dst: ReadonlySet<string> };
}

/** The context with exactly these pairs and the routes between their ends. */
export function withPairs(context: IPContext, change: PairChange): IPContext {
  const { pairs, kept } = change;
  const src = ends(
    context.srcIpAddrs,
    pairs.map((pair) => formatPrefix(pair.src)),
    kept.src,
  );
  const dst = ends(
    context.dstIpAddrs,
    pairs.map((pair) => formatPrefix(pair.dst)),
    kept.dst,
  );
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

function ends(
  present: readonly string[],
  leased: readonly string[],
  kept: ReadonlySet<string>,
): Ends {
  const removed = new Set<string>();
  const texts: string[] = [];
  for (const text of present) {
    const canonical = canonicalOf(text);
    if (!leased.includes(canonical) && !kept.has(canonical)) removed.add(canonical);
    else if (!texts.includes(canonical)) texts.push(canonical);
  }
  for (const each of leased) if (!texts.includes(each)) texts.push(each);
  return { texts, leased, removed };
}

/** The context with exactly these extra prefixes, and the Endpoint's routes to them. */
export function withExtraPrefixes(context: IPContext, prefixes: readonly Prefix[]): IPContext {
  const texts = prefixes.map(formatPrefix);
  const dropped = new Set(context.extraPrefixes);
  for (const each of texts) dropped.delete(each);
  const dstRoutes = context.dstRoutes.filter((route) => !dropped.has(route.prefix));
  const known = new Set(dstRoutes.map(prefixOfRoute));
  // Without a next hop: the way is the client's address at the other end of the wire.
  for (const prefix of texts) {
    if (!known.has(prefix)) dstRoutes.push(create(RouteSchema, { prefix }));
  }
  const isSame =
    sameTexts(texts, context.extraPrefixes) &&
    sameTexts(dstRoutes.map(prefixOfRoute), context.dstRoutes.map(prefixOfRoute));
  return isSame ? context : { ...context, extraPrefixes: texts, dstRoutes };
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
export function canonicalOf(text: string): string {
  const prefix = parsePrefix(text);
  return prefix === undefined || !isHostPrefix(prefix) ? text : formatPrefix(prefix);
}

function prefixOfRoute(route: Route): string {
  return route.prefix;
}

function sameTexts(left: readonly string[], right: readonly string[]): boolean {
  return left.length === right.length && left.every((text, index) => text === right[index]);
}
