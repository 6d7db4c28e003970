// YAML text to plain values that know their lines: NetworkService files, policy routes, excluded prefixes, templates
// of a supplier. What the values mean is judged in protocols/nsm.
// Invariant: aliases are bounded by the parser, so that a small file cannot become a large document.

import { type Document, isMap, isNode, isScalar, LineCounter, parseAllDocuments } from 'yaml';
import { NsmError } from '../protocols/errors.ts';
import { limits } from '../protocols/limits.ts';
import type { DocumentPath, PositionOf } from '../protocols/nsm/document-reader.ts';

/** How often an alias may stand for its anchor before the file is refused. */
const aliasesMax = 100;

export interface YamlDocument {
  readonly value: unknown;
  readonly positionOf: PositionOf;
}

/** What a text is, for errors: `NetworkService file`, and its name. */
export interface YamlSource {
  readonly kind: string;
  readonly name: string;
}

/** The documents of a text; empty ones are passed over. Throws INVALID_ARGUMENT with the line. */
export function readYaml(text: string, source: YamlSource): readonly YamlDocument[] {
  if (text.length > limits.documentLength) {
    const found = `${text.length}`;
    throw refuse(source, source.name, `at most ${limits.documentLength} characters`, found);
  }
  const lines = new LineCounter();
  return parseDocuments(text, source, lines).flatMap((document) => {
    const [error] = document.errors;
    if (error !== undefined) {
      const line = error.linePos?.[0].line ?? 1;
      const where = `${source.name}, line ${line}`;
      throw refuse(source, where, 'YAML', error.message.split('\n')[0] ?? '');
    }
    const value = toPlain(document, source);
    if (value === null || value === undefined) return [];
    return [{ value, positionOf: (path: DocumentPath) => lineOf(document, path, lines) }];
  });
}

/** The one document of a text, or undefined where it is empty. Throws INVALID_ARGUMENT. */
export function readYamlDocument(text: string, source: YamlSource): YamlDocument | undefined {
  const documents = readYaml(text, source);
  if (documents.length <= 1) return documents[0];
  throw refuse(source, source.name, 'one YAML document', `${documents.length}`);
}

function parseDocuments(
  text: string,
  source: YamlSource,
  lineCounter: LineCounter,
): readonly Document[] {
  try {
    const documents = parseAllDocuments(text, { lineCounter, logLevel: 'silent' });
    return Array.isArray(documents) ? documents : [];
  } catch (thrown) {
    throw refuse(source, source.name, 'YAML', String(thrown).slice(0, 200));
  }
}

function toPlain(document: Document, source: YamlSource): unknown {
  try {
    return document.toJS({ maxAliasCount: aliasesMax });
  } catch (thrown) {
    const expected = `YAML with at most ${aliasesMax} uses of aliases`;
    throw refuse(source, source.name, expected, String(thrown));
  }
}

/** The line of the key that the path ends in, or of the value where it ends in a list item. */
function lineOf(
  document: Document,
  path: DocumentPath,
  lines: LineCounter,
): { line: number } | undefined {
  const parent = path.length === 0 ? undefined : document.getIn(path.slice(0, -1), true);
  const pair = isMap(parent)
    ? parent.items.find(({ key }) => isScalar(key) && key.value === path.at(-1))
    : undefined;
  const node = pair?.key ?? (path.length === 0 ? document.contents : document.getIn(path, true));
  const start = isNode(node) ? node.range?.[0] : undefined;
  return start === undefined ? undefined : { line: lines.linePos(start).line };
}

function refuse(source: YamlSource, rule: string, expected: string, found: string): NsmError {
  return new NsmError('INVALID_ARGUMENT', `the ${source.kind} cannot be read: ${rule}`, {
    rule,
    expected,
    found: found.slice(0, 200),
  });
}
