// NetworkService files: YAML text (one or several documents) to NetworkService messages, with the line of whatever is
// wrong. The shape is judged by protocols/nsm/network-service-document.ts; here only the text is parsed.
// Invariant: aliases are bounded by the parser, so that a small file cannot become a large document.

import { type Document, isMap, isNode, isScalar, LineCounter, parseAllDocuments } from 'yaml';
import { NsmError } from '../protocols/errors.ts';
import { limits } from '../protocols/limits.ts';
import type { DocumentPath } from '../protocols/nsm/document-reader.ts';
import type { NetworkService } from '../protocols/nsm/gen/registry_pb.ts';
import { networkServiceFromDocument } from '../protocols/nsm/network-service-document.ts';

/** How often an alias may stand for its anchor before the file is refused. */
const aliasesMax = 100;

/** The services of a file; empty documents are passed over. Throws INVALID_ARGUMENT; `name` is the file's, for errors. */
export function readNetworkServices(text: string, name: string): readonly NetworkService[] {
  if (text.length > limits.documentLength) {
    throw refuse(name, `at most ${limits.documentLength} characters`, `${text.length}`);
  }
  const lines = new LineCounter();
  const documents = parseDocuments(text, name, lines);
  return documents.flatMap((document) => {
    const [error] = document.errors;
    if (error !== undefined) {
      const line = error.linePos?.[0].line ?? 1;
      throw refuse(`${name}, line ${line}`, 'YAML', error.message.split('\n')[0] ?? '');
    }
    const plain = toPlain(document, name);
    if (plain === null || plain === undefined) return [];
    return [networkServiceFromDocument(plain, (path) => lineOf(document, path, lines))];
  });
}

function parseDocuments(text: string, name: string, lineCounter: LineCounter): readonly Document[] {
  try {
    const documents = parseAllDocuments(text, { lineCounter, logLevel: 'silent' });
    return Array.isArray(documents) ? documents : [];
  } catch (thrown) {
    throw refuse(name, 'YAML', String(thrown).slice(0, 200));
  }
}

function toPlain(document: Document, name: string): unknown {
  try {
    return document.toJS({ maxAliasCount: aliasesMax });
  } catch (thrown) {
    throw refuse(name, `YAML with at most ${aliasesMax} uses of aliases`, String(thrown));
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

function refuse(rule: string, expected: string, found: string): NsmError {
  return new NsmError('INVALID_ARGUMENT', `the NetworkService file cannot be read: ${rule}`, {
    rule,
    expected,
    found: found.slice(0, 200),
  });
}
