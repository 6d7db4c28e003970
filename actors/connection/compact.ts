// A connection as it is remembered: equal to the one received, in less memory. A decoded message carries room to
// grow in each of its objects, an empty map of its own for each field, and the same component names over and over; a
// manager keeps ten thousand of them. Messages are never changed, so parts of several may be shared.

const emptyMap: Readonly<Record<string, never>> = Object.freeze({});
const emptyList: readonly never[] = Object.freeze([]);

/** Names of components, services and mechanisms and whole seconds repeat between connections; tokens and ids do not. */
const sharedLengthMax = 24;
const sharedCountMax = 4_096;
const shared = new Map<unknown, unknown>();

/** Every own field is kept, unknown ones of newer peers included; a text equal to `id` becomes that very text. */
export function compact<Value>(value: Value, id: string): Value {
  return compactAny(value, id) as Value;
}

function compactAny(value: unknown, id: string): unknown {
  if (typeof value === 'bigint') return share(value);
  if (typeof value === 'string') {
    if (value.length <= sharedLengthMax) return share(value);
    return value === id ? id : value;
  }
  if (typeof value !== 'object' || value === null) return value;
  // Bytes of unknown fields are a view of what the socket read, and would keep all of it.
  if (value instanceof Uint8Array) return value.slice();
  if (Array.isArray(value)) {
    return value.length === 0 ? emptyList : value.map((each) => compactAny(each, id));
  }
  return compactFields(value, id);
}

function compactFields(value: object, id: string): object {
  // A copy by spread has no room to grow, whatever the original had.
  const copy: Record<string, unknown> = { ...value };
  let isEmpty = true;
  for (const key in copy) {
    isEmpty = false;
    copy[key] = compactAny(copy[key], id);
  }
  return isEmpty ? emptyMap : copy;
}

function share(value: string | bigint): unknown {
  const known = shared.get(value);
  if (known !== undefined) return known;
  if (shared.size >= sharedCountMax) shared.clear();
  shared.set(value, value);
  return value;
}
