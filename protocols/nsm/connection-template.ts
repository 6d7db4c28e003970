// Templates over a whole Connection, as the reference's supplier renders its pod: the language of template.ts with the
// Connection instead of the labels as the dot. Read: `{{ .NetworkService }}`, `{{ .Id }}`,
// `{{ .NetworkServiceEndpointName }}`, `{{ .Payload }}`, `{{ .Labels.key }}`, `{{ index .Labels "key" }}`, a quoted
// text, comments. Invariant: what the template names and the connection lacks is refused, never guessed.

import { NsmError } from '../errors.ts';
import type { Connection } from './gen/connection_pb.ts';
import { labelOf } from './labels.ts';
import { literalAction, refuseTemplate, replaceActions, unquote } from './template.ts';

const fields = {
  Id: 'id',
  NetworkService: 'networkService',
  NetworkServiceEndpointName: 'networkServiceEndpointName',
  Payload: 'payload',
} as const satisfies Record<string, keyof Connection>;

type Action =
  | { readonly kind: 'text'; readonly text: string }
  | { readonly kind: 'field'; readonly field: keyof typeof fields }
  | { readonly kind: 'label'; readonly key: string; readonly isDemanded: boolean };

const fieldAction = /^\.(\w+)$/;
const labelAction = /^\.Labels\.([\p{L}_][\p{L}\p{Nd}_]*)$/u;
const indexAction = /^index\s+\.Labels\s+("(?:[^"\\\n]|\\.)*"|`[^`]*`)$/s;

/** Throws INVALID_ARGUMENT naming the action or the label that is absent. */
export function renderConnectionTemplate(text: string, connection: Connection): string {
  return replaceActions(text, (raw) => render(readAction(raw, text), connection, text));
}

/** Whether every action of the text is one of the language, before there is a connection. Throws INVALID_ARGUMENT. */
export function checkConnectionTemplate(text: string): void {
  replaceActions(text, (raw) => {
    readAction(raw, text);
    return '';
  });
}

function readAction(raw: string, text: string): Action {
  const literal = literalAction(raw, text);
  if (literal !== undefined) return { kind: 'text', text: literal };
  const body = raw.trim();
  const field = fieldAction.exec(body)?.[1];
  if (field !== undefined && isField(field)) return { kind: 'field', field };
  const label = labelAction.exec(body)?.[1];
  if (label !== undefined) return { kind: 'label', key: label, isDemanded: true };
  const index = indexAction.exec(body)?.[1];
  if (index !== undefined) return { kind: 'label', key: unquote(index, text), isDemanded: false };
  const known = Object.keys(fields).map((name) => `{{ .${name} }}`);
  const expected = `one of ${known.join(', ')}, {{ .Labels.key }}, {{ index .Labels "key" }}`;
  throw refuseTemplate(text, expected, `{{${raw}}}`);
}

function isField(name: string): name is keyof typeof fields {
  return Object.hasOwn(fields, name);
}

function render(action: Action, connection: Connection, text: string): string {
  switch (action.kind) {
    case 'text':
      return action.text;
    case 'field':
      return connection[fields[action.field]];
    case 'label': {
      const { labels } = connection;
      if (!action.isDemanded || Object.hasOwn(labels, action.key)) {
        return labelOf(labels, action.key);
      }
      throw lacksLabel(action.key, labels, text);
    }
  }
}

function lacksLabel(key: string, labels: Connection['labels'], text: string): NsmError {
  const present = Object.keys(labels).slice(0, 10).join(', ');
  const message = `the template names a label that the connection lacks: ${key}`;
  return new NsmError('INVALID_ARGUMENT', message, {
    rule: `template ${text.slice(0, 200)}`,
    expected: `a label ${key}`,
    found: present === '' ? 'no labels' : `labels ${present}`,
    remedy: `give the client the label, or write {{ index .Labels "${key}" }} where it may be absent`,
  });
}
