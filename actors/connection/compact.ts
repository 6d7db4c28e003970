// A connection as it is remembered: equal to the one received, in less memory. A decoded message carries room to
// grow in each of its objects, an empty map of its own for each field, and the same component names over and over; a
// manager keeps ten thousand of them. Messages are never changed, so parts of several may be shared.

const emptyMap: Readonly<Record<string, never>> = Object.freeze({});
const emptyList: readonly never[] = Object.freeze([]);

/** Names of components, services and mechanisms repeat between connections; tokens and ids do not. */
const sharedLengthMax = 32;
const sharedCountMax = 4_096;
const shared = new Map<string, string>();

/** Every own field is kept, unknown ones of newer peers included. */
export function compact<Value>(value: Value): Value {
  return compactAny(value) as Value;
}

function compactAny(value: unknown): unknown {
  if (typeof value === 'string') return value.length <= sharedLengthMax ? share(value) : value;
  if (typeof value !== 'object' || value === null || ArrayBuffer.isView(value)) return value;
  if (Array.isArray(value)) return value.length === 0 ? emptyList : value.map(compactAny);
  // A copy by spread has no room to grow, whatever the original had.
  const copy: Record<string, unknown> = { ...value };
  let isEmpty = true;
  for (const key in copy) {
    isEmpty = false;
    const field = copy[key];
    const smaller = compactAny(field);
    if (smaller !== field) copy[key] = smaller;
  }
  return isEmpty ? emptyMap : copy;
}

function share(text: string): string {
  const known = shared.get(text);
  if (known !== undefined) return known;
  if (shared.size >= sharedCountMax) shared.clear();
  shared.set(text, text);
  return text;
}
