// Templates in selectors: the part of Go's text/template that NSM's selectors use, rendered over a client's labels.
// Read: `{{ .key }}`, `{{ index . "key" }}`, a quoted text, comments, and the trim marks `{{-` and `-}}`.
// Deviation from the reference, on purpose: there `{{ .key }}` of an absent label renders to the literal text
// `<no value>`, and a template that cannot be parsed is compared as raw text; both hide a mistake as "no candidates".
// Here both are refused with INVALID_ARGUMENT. `{{ index . "key" }}` renders an absent label as empty text in both.

import { NsmError } from '../errors.ts';
import { limits } from '../limits.ts';
import { type Labels, labelOf } from './labels.ts';

/** True where the text holds an action; anything else stands for itself. */
export function isTemplate(text: string): boolean {
  return text.includes('{{');
}

/** One action: the label that it reads, or the text that it stands for. */
type Action =
  | { readonly kind: 'field'; readonly key: string }
  | { readonly kind: 'index'; readonly key: string }
  | { readonly kind: 'text'; readonly text: string };

/** The text with its actions replaced. Throws INVALID_ARGUMENT naming the action, the key and what is there. */
export function renderTemplate(text: string, labels: Labels): string {
  return replaceActions(text, (raw) => renderAction(readAction(raw, text), labels, text));
}

/** The text with what stands between each `{{` and `}}`, trim marks left out, replaced. */
export function replaceActions(text: string, replace: (raw: string) => string): string {
  if (!isTemplate(text)) return text;
  if (text.length > limits.templateLength) {
    throw refuseTemplate(text, `at most ${limits.templateLength} characters`, `${text.length}`);
  }
  let output = '';
  let position = 0;
  let trimNext = false;
  for (;;) {
    const open = text.indexOf('{{', position);
    const literal = text.slice(position, open === -1 ? undefined : open);
    const trimmedStart = trimNext ? trimStart(literal) : literal;
    if (open === -1) return output + trimmedStart;
    const trimBefore = /^\{\{-[ \t\r\n]/.test(text.slice(open, open + 4));
    output += trimBefore ? trimEnd(trimmedStart) : trimmedStart;
    const close = endOfAction(text, open + 2);
    trimNext = /[ \t\r\n]-$/.test(text.slice(Math.max(open + 2, close - 2), close));
    const body = text.slice(open + (trimBefore ? 3 : 2), trimNext ? close - 1 : close);
    output += replace(body);
    position = close + 2;
  }
}

// Go trims these four only, JavaScript's own trim many more.
const blanks = ' \t\r\n';

function trimStart(text: string): string {
  let start = 0;
  while (start < text.length && blanks.includes(text.charAt(start))) start += 1;
  return text.slice(start);
}

function trimEnd(text: string): string {
  let end = text.length;
  while (end > 0 && blanks.includes(text.charAt(end - 1))) end -= 1;
  return text.slice(0, end);
}

/** Where the action that began at `start` closes; quoted texts and comments may hold braces. */
function endOfAction(text: string, start: number): number {
  let quote = '';
  for (let at = start; at < text.length; at += 1) {
    const char = text[at] ?? '';
    if (quote !== '') {
      if (quote === '"' && char === '\\') at += 1;
      else if (char === quote) quote = '';
    } else if (char === '"' || char === '`') {
      quote = char;
    } else if (text.startsWith('/*', at)) {
      const end = text.indexOf('*/', at + 2);
      if (end === -1) break;
      at = end + 1;
    } else if (text.startsWith('}}', at)) {
      return at;
    }
  }
  throw refuseTemplate(text, 'a closing }} for every {{', 'the end of the text');
}

/** The text of a quoted action or of a comment; undefined where the action is another. */
export function literalAction(raw: string, text: string): string | undefined {
  const body = raw.trim();
  const quoted = quotedAction.exec(body)?.[1];
  if (quoted !== undefined) return unquote(quoted, text);
  return commentAction.test(body) ? '' : undefined;
}

// Go: a field name is letters, digits and underscores and does not begin with a digit.
const fieldAction = /^\.([\p{L}_][\p{L}\p{Nd}_]*)$/u;
const indexAction = /^index[ \t\r\n]+\.[ \t\r\n]+("(?:[^"\\\n]|\\.)*"|`[^`]*`)$/s;
const quotedAction = /^("(?:[^"\\\n]|\\.)*"|`[^`]*`)$/s;
const commentAction = /^\/\*.*\*\/$/s;

function readAction(raw: string, text: string): Action {
  const body = raw.trim();
  const field = fieldAction.exec(body)?.[1];
  if (field !== undefined) return { kind: 'field', key: field };
  const index = indexAction.exec(body)?.[1];
  if (index !== undefined) return { kind: 'index', key: unquote(index, text) };
  const literal = literalAction(raw, text);
  if (literal !== undefined) return { kind: 'text', text: literal };
  throw refuseTemplate(text, '{{ .key }} or {{ index . "key" }}', `{{${raw}}}`);
}

function renderAction(action: Action, labels: Labels, text: string): string {
  switch (action.kind) {
    case 'text':
      return action.text;
    case 'index':
      return labelOf(labels, action.key);
    case 'field':
      if (Object.hasOwn(labels, action.key)) return labelOf(labels, action.key);
      throw missingKey(action.key, labels, text);
  }
}

/** A quoted text without its quotes. Throws INVALID_ARGUMENT at an escape that is none; `text` is for the error. */
export function unquote(quoted: string, text: string): string {
  const inner = quoted.slice(1, -1);
  if (quoted.startsWith('`')) return inner;
  return inner.replace(/\\(.)/gs, (_, escaped: string) => {
    if (escaped === '"' || escaped === '\\') return escaped;
    if (escaped === 'n') return '\n';
    if (escaped === 't') return '\t';
    throw refuseTemplate(text, String.raw`one of \" \\ \n \t in a quoted text`, `\\${escaped}`);
  });
}

function missingKey(key: string, labels: Labels, text: string): NsmError {
  const present = Object.keys(labels).slice(0, 10).join(', ');
  return new NsmError('INVALID_ARGUMENT', `the template names a label that is absent: ${key}`, {
    rule: `template ${text}`,
    expected: `a label ${key}`,
    found: present === '' ? 'no labels' : `labels ${present}`,
    remedy: `give the client the label, or write {{ index . "${key}" }} where it may be absent`,
  });
}

/** An INVALID_ARGUMENT about a template. */
export function refuseTemplate(text: string, expected: string, found: string): NsmError {
  return new NsmError('INVALID_ARGUMENT', 'the template cannot be read', {
    rule: `template ${text.slice(0, 200)}`,
    expected,
    found: found.slice(0, 200),
  });
}
