// Reads a parsed YAML or JSON document of unknown shape, one value at a time; whatever is not as expected is refused
// with its line, its place, the shape that is expected and what is there. Parsing the text is done elsewhere.

import { NsmError } from '../errors.ts';
import { limits } from '../limits.ts';
import { countLabels } from './labels.ts';

export type DocumentPath = readonly (string | number)[];

/** Where a value of the document stands; undefined where that is not known. */
export type PositionOf = (path: DocumentPath) => { readonly line: number } | undefined;

/** A value of the document and the way to it. */
export interface Node {
  /** What the document is called in errors: `NetworkService document`. */
  readonly document: string;
  readonly value: unknown;
  readonly path: DocumentPath;
  readonly positionOf: PositionOf;
}

export type Mapping = Readonly<Record<string, unknown>>;

export function childOf(node: Node, key: string | number): Node {
  const { value } = node;
  const isThere = typeof value === 'object' && value !== null && Object.hasOwn(value, key);
  const child: unknown = isThere ? (value as Mapping)[key] : undefined;
  return { ...node, value: child, path: [...node.path, key] };
}

export function isAbsent({ value }: Node): boolean {
  return value === undefined || value === null;
}

function isMapping(value: unknown): value is Mapping {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** What the keys of a mapping may be, and what to say about others. */
export interface Keys {
  readonly known: readonly string[];
  /** The shape to show, one line. */
  readonly shape: string;
  /** More to say about a key that does not belong here. */
  readonly hint?: (key: string) => string | undefined;
}

/** Refuses what is no mapping and keys that do not belong here. */
export function checkMapping(node: Node, keys: Keys): void {
  if (!isMapping(node.value)) throw refuseNode(node, `a mapping: ${keys.shape}`);
  const stray = Object.keys(node.value).find((key) => !keys.known.includes(key));
  if (stray === undefined) return;
  const hint = keys.hint?.(stray);
  throw refuseNode(childOf(node, stray), keys.shape, { found: `the key ${stray}`, remedy: hint });
}

/** The items of a list; an absent one is empty. */
export function itemsOf(
  node: Node,
  expected: { readonly max: number; readonly shape: string },
): readonly Node[] {
  if (isAbsent(node)) return [];
  if (!Array.isArray(node.value)) throw refuseNode(node, `a list: ${expected.shape}`);
  if (node.value.length > expected.max) {
    const found = `${node.value.length} entries`;
    throw refuseNode(node, `at most ${expected.max} entries`, { found });
  }
  return node.value.map((_, index) => childOf(node, index));
}

/** A text; an absent one is empty. */
export function textOf(node: Node): string {
  if (isAbsent(node)) return '';
  if (typeof node.value !== 'string') throw refuseNode(node, 'a text');
  if (node.value.length > limits.nameLength) {
    throw refuseNode(node, `at most ${limits.nameLength} characters`);
  }
  return node.value;
}

export function booleanOf(node: Node): boolean {
  if (isAbsent(node)) return false;
  if (typeof node.value !== 'boolean') throw refuseNode(node, 'true or false');
  return node.value;
}

export function unsignedOf(node: Node): number {
  if (isAbsent(node)) return 0;
  const { value } = node;
  if (typeof value === 'number' && Number.isInteger(value) && value >= 0 && value <= 0xffff_ffff) {
    return value;
  }
  throw refuseNode(node, 'a whole number from 0 to 4294967295');
}

/** A mapping of text to text, as a selector is. `hint` names what a wrongly nested value was meant to be. */
export function textMapOf(
  node: Node,
  hint?: (key: string) => string | undefined,
): Record<string, string> {
  if (isAbsent(node)) return {};
  const shape = '{ <label>: <text>, ... }';
  if (!isMapping(node.value)) throw refuseNode(node, `a mapping of texts: ${shape}`);
  const mapping = node.value;
  const entries = Object.keys(mapping).map((key) => {
    const child = childOf(node, key);
    if (typeof child.value !== 'string') {
      throw refuseNode(child, `a text: ${shape}`, { remedy: hint?.(key) });
    }
    return [key, child.value] as const;
  });
  const map: Record<string, string> = Object.fromEntries(entries);
  if (countLabels(map) > limits.mapEntries) {
    throw refuseNode(node, `at most ${limits.mapEntries} entries`);
  }
  return map;
}

/** The document itself. */
export function rootOf(document: string, value: unknown, positionOf: PositionOf): Node {
  return { document, value, path: [], positionOf };
}

/** An INVALID_ARGUMENT naming line and place of the node. */
export function refuseNode(
  node: Node,
  expected: string,
  more: { readonly found?: string; readonly remedy?: string | undefined } = {},
): NsmError {
  const line = lineOf(node);
  const place = node.path.length === 0 ? 'the document' : node.path.join('.');
  const where = line === undefined ? place : `line ${line}, ${place}`;
  return new NsmError('INVALID_ARGUMENT', `the ${node.document} is wrong at ${where}`, {
    rule: where,
    expected,
    found: more.found ?? describe(node.value),
    ...(more.remedy === undefined ? {} : { remedy: more.remedy }),
  });
}

/** The line of the node, or of the nearest parent whose line is known. */
function lineOf({ path, positionOf }: Node): number | undefined {
  for (let length = path.length; length >= 0; length -= 1) {
    const position = positionOf(path.slice(0, length));
    if (position !== undefined) return position.line;
  }
  return undefined;
}

function describe(value: unknown): string {
  if (value === undefined || value === null) return 'nothing';
  if (Array.isArray(value)) return `a list of ${value.length}`;
  if (typeof value === 'object') {
    return `a mapping with ${Object.keys(value).slice(0, 5).join(', ') || 'no keys'}`;
  }
  if (typeof value === 'string') return JSON.stringify(value.slice(0, 80));
  if (typeof value === 'number' || typeof value === 'boolean' || typeof value === 'bigint') {
    return `${typeof value} ${value}`;
  }
  return `a ${typeof value}`;
}
