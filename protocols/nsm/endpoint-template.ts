// What a supplier starts, as an operator writes it: name, command line, environment and network namespace of a process,
// each text a template over the Connection that asks. The counterpart of the reference's pod description.
// Invariants: the document is parsed before anything is rendered into it, so a label of a client can fill a text and
// never become another key or another argument; names that become paths have no separator in them.

import { NsmError } from '../errors.ts';
import { limits } from '../limits.ts';
import { checkConnectionTemplate, renderConnectionTemplate } from './connection-template.ts';
import {
  checkMapping,
  childOf,
  isAbsent,
  itemsOf,
  type Node,
  type PositionOf,
  refuseNode,
  rootOf,
  textMapOf,
  textOf,
} from './document-reader.ts';
import type { Connection } from './gen/connection_pb.ts';

/** As written. */
export interface EndpointTemplate {
  readonly name: string;
  /** Absent: the supplier's choice. */
  readonly command: readonly string[] | undefined;
  readonly environment: Readonly<Record<string, string>>;
  /** Absent: a namespace of the Endpoint's own, called as it is. */
  readonly namespace: string | undefined;
}

/** Rendered for one connection. */
export interface EndpointPlan {
  /** One Endpoint per name. */
  readonly name: string;
  readonly command: readonly string[] | undefined;
  readonly environment: Readonly<Record<string, string>>;
  readonly namespace: string;
}

const shape = 'name, command: [...], environment: { <variable>: <text> }, namespace';
const argumentsMax = 256;

/** Throws INVALID_ARGUMENT with line, place, expected and found. */
export function endpointTemplateFrom(document: unknown, positionOf: PositionOf): EndpointTemplate {
  const root = rootOf('template of Endpoints', document, positionOf);
  checkMapping(root, { known: ['name', 'command', 'environment', 'namespace'], shape });
  const name = templateOf(childOf(root, 'name'));
  if (name === '') throw refuseNode(childOf(root, 'name'), 'a name: one Endpoint per name');
  const environmentNode = childOf(root, 'environment');
  const environment = textMapOf(environmentNode, () => 'put the value in quotes');
  for (const variable of Object.keys(environment)) {
    const node = childOf(environmentNode, variable);
    if (!variableName.test(variable)) throw refuseNode(node, 'letters, digits and underscores');
    templateOf(node);
  }
  return {
    name,
    environment,
    command: commandOf(childOf(root, 'command')),
    namespace: templateOf(childOf(root, 'namespace')) || undefined,
  };
}

function commandOf(node: Node): readonly string[] | undefined {
  if (isAbsent(node)) return undefined;
  const words = itemsOf(node, { max: argumentsMax, shape: '[program, argument, ...]' });
  if (words.length === 0) throw refuseNode(node, 'a program and its arguments');
  return words.map(templateOf);
}

/** The text, whose actions must all be of the language. */
function templateOf(node: Node): string {
  const { value } = node;
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) {
    const remedy = 'put the text in quotes: YAML reads bare braces as a mapping';
    throw refuseNode(node, 'a text', { remedy });
  }
  const text = textOf(node);
  try {
    checkConnectionTemplate(text);
  } catch (thrown) {
    if (!(thrown instanceof NsmError)) throw thrown;
    const { expected = '', found = '' } = thrown.details;
    throw refuseNode(node, expected, { found });
  }
  return text;
}

/** Throws INVALID_ARGUMENT where the connection does not fit the template. */
export function renderEndpoint(template: EndpointTemplate, connection: Connection): EndpointPlan {
  const render = (text: string, where: string): string => {
    const rendered = renderConnectionTemplate(text, connection);
    if (rendered.length <= limits.configTextLength && !rendered.includes('\0')) return rendered;
    throw refusePlan(where, 'a text without NUL that is not too long', rendered);
  };
  const name = nameOf(render(template.name, 'name'), 'name');
  const environment = Object.entries(template.environment).map(
    ([variable, text]) => [variable, render(text, `environment.${variable}`)] as const,
  );
  return {
    name,
    command: template.command?.map((word, index) => render(word, `command.${index}`)),
    environment: Object.fromEntries(environment),
    namespace:
      template.namespace === undefined
        ? name
        : nameOf(render(template.namespace, 'namespace'), 'namespace'),
  };
}

const variableName = /^[A-Za-z_]\w*$/;
/** A DNS label with dots allowed inside: what may be a file, a namespace and a component name alike. */
const plainName = /^[a-zA-Z0-9](?:[a-zA-Z0-9._-]{0,61}[a-zA-Z0-9])?$/;

function nameOf(text: string, where: string): string {
  if (plainName.test(text) && !text.includes('..')) return text;
  const expected =
    'at most 63 letters, digits, dots, dashes and underscores, a letter or digit at each end';
  throw refusePlan(where, expected, text);
}

function refusePlan(rule: string, expected: string, found: string): NsmError {
  return new NsmError('INVALID_ARGUMENT', `the template gives no usable ${rule} for this client`, {
    rule: `template, ${rule}`,
    expected,
    found: JSON.stringify(found.slice(0, 80)),
    remedy: 'change the template, or the labels of the client',
  });
}
