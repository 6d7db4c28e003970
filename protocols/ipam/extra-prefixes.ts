// What a client asks for beside its address: prefixes of a length and family, so many at least and so many at best.
// Pure choice among what it holds; what is missing is drawn by whoever owns the pools.
// Invariant: a prefix that is held and still asked for stays; none is counted for two requests.

import { NsmError } from '../errors.ts';
import { limits } from '../limits.ts';
import { type ExtraPrefixRequest, IpFamily_Family } from '../nsm/gen/connectioncontext_pb.ts';
import { type Family, overlaps, type Prefix } from './address.ts';

export interface ExtraSize {
  readonly family: Family;
  readonly lengthBits: number;
}

/** Returns a prefix of this size, or undefined where none is to be had. */
export type DrawPrefix = (size: ExtraSize) => Prefix | undefined;

export interface ExtraAsked {
  readonly requests: readonly ExtraPrefixRequest[];
  readonly held: readonly Prefix[];
  readonly excluded: readonly Prefix[];
}

/** All that the connection is to have, in the order of its requests. Throws RESOURCE_EXHAUSTED; `draw` may be undone. */
export function extraPrefixesFor(asked: ExtraAsked, draw: DrawPrefix): readonly Prefix[] {
  refuseTooMany(asked.requests);
  const spare = asked.held.filter((each) => !asked.excluded.some((bar) => overlaps(bar, each)));
  const given: Prefix[] = [];
  for (const request of asked.requests) {
    const size = sizeOf(request);
    const wanted = Math.max(request.requiredNumber, request.requestedNumber);
    let count = 0;
    while (count < wanted) {
      const next = takeSpare(spare, size) ?? draw(size);
      if (next === undefined) break;
      given.push(next);
      count += 1;
    }
    if (count < request.requiredNumber) throw tooFew(size, request, count);
  }
  return given;
}

function sizeOf({ addrFamily, prefixLen }: ExtraPrefixRequest): ExtraSize {
  const family = addrFamily?.family === IpFamily_Family.IPV6 ? 6 : 4;
  return { family, lengthBits: prefixLen };
}

function takeSpare(spare: Prefix[], { family, lengthBits }: ExtraSize): Prefix | undefined {
  const index = spare.findIndex((each) => each.family === family && each.lengthBits === lengthBits);
  return index === -1 ? undefined : spare.splice(index, 1)[0];
}

function refuseTooMany(requests: readonly ExtraPrefixRequest[]): void {
  const total = requests.reduce(
    (sum, each) => sum + Math.max(each.requiredNumber, each.requestedNumber),
    0,
  );
  if (total <= limits.extraPrefixes) return;
  throw new NsmError('INVALID_ARGUMENT', 'too many extra prefixes are asked for', {
    rule: 'ip_context.extra_prefix_request',
    expected: `at most ${limits.extraPrefixes} in all`,
    found: `${total}`,
  });
}

function tooFew(size: ExtraSize, request: ExtraPrefixRequest, count: number): NsmError {
  return new NsmError('RESOURCE_EXHAUSTED', 'not enough extra prefixes are free', {
    rule: 'ip_context.extra_prefix_request',
    expected: `${request.requiredNumber} IPv${size.family} prefixes of /${size.lengthBits}`,
    found: `${count}`,
    remedy: 'enlarge NSM_CIDR_PREFIX, or ask for fewer or smaller prefixes',
  });
}
