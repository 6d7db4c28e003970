// The registry path: a JSON object that travels in the metadata key `path`, since registry messages have no path
// field. Who has an identity fills tokens in and checks them (actors/authorization/registry-guard.ts); here is its form.
// Invariants: answered only on success, and only to a caller that sent one; at most 16 segments and 64 KiB.

import { NsmError } from '../errors.ts';

/** Metadata key, in requests and in the response header. */
export const registryPathHeader = 'path';
const headerCharsMax = 64 * 1024;
const segmentsMax = 16;

/** Field names as the reference spells them. */
export interface RegistryPath {
  readonly Index: number;
  readonly PathSegments: readonly { readonly token: string }[];
}

/** Errors: INVALID_ARGUMENT. */
export function parseRegistryPath(header: string): RegistryPath {
  if (header.length > headerCharsMax) throw badPath(`${header.length} characters`);
  let value: unknown;
  try {
    value = JSON.parse(header);
  } catch {
    throw badPath(header);
  }
  const { Index, PathSegments } = Object(value) as Partial<Record<string, unknown>>;
  const segments = PathSegments ?? [];
  const isPath =
    Array.isArray(segments) &&
    segments.length <= segmentsMax &&
    segments.every((segment) => typeof Object(segment).token === 'string');
  const index = Index ?? 0;
  const isIndex = typeof index === 'number' && Number.isInteger(index) && index >= 0;
  if (!isPath || !isIndex || index > segments.length) throw badPath(header);
  return {
    Index: index,
    PathSegments: segments.map((segment: { token: string }) => ({ token: segment.token })),
  };
}

/** An empty list is written as null, as Go does. */
export function formatRegistryPath(path: RegistryPath): string {
  const { Index, PathSegments } = path;
  return JSON.stringify({ Index, PathSegments: PathSegments.length === 0 ? null : PathSegments });
}

function badPath(found: string): NsmError {
  return new NsmError('INVALID_ARGUMENT', 'the registry path in the metadata is not one', {
    rule: 'registry-path',
    expected: '{"Index":0,"PathSegments":null} or segments with a token each',
    found: found.slice(0, 120),
  });
}
