// Protects whoever writes a template of Endpoints, with one clear error per mistake, and whoever runs a supplier, from
// clients whose labels try to be more than a text.

import { create } from '@bufbuild/protobuf';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { readYamlDocument } from '../../../bin/yaml-file.ts';
import { NsmError } from '../../../protocols/errors.ts';
import { renderConnectionTemplate } from '../../../protocols/nsm/connection-template.ts';
import {
  type EndpointTemplate,
  endpointTemplateFrom,
  renderEndpoint,
} from '../../../protocols/nsm/endpoint-template.ts';
import { ConnectionSchema } from '../../../protocols/nsm/gen/connection_pb.ts';

const good = `name: 'nse-{{ .NetworkService }}-{{ index .Labels "nodeName" }}'
command: [vwire, nse, 'icmp-responder']
environment:
  NSM_SERVICE_NAMES: '{{ .NetworkService }}'
  NSM_LABELS: 'app:{{ .Labels.app }}'
namespace: '{{ .Id }}'
`;

function read(text: string): EndpointTemplate {
  const document = readYamlDocument(text, { kind: 'template', name: 'endpoint.yaml' });
  return endpointTemplateFrom(document?.value, document?.positionOf ?? (() => undefined));
}

function refused(body: () => unknown): NsmError {
  try {
    body();
  } catch (thrown) {
    if (thrown instanceof NsmError) return thrown;
    throw thrown;
  }
  throw new Error('nothing was refused');
}

const connection = (labels: Record<string, string> = {}) =>
  create(ConnectionSchema, {
    id: 'nsc-0',
    networkService: 'svc',
    labels: { nodeName: 'n1', app: 'x', ...labels },
  });

describe('a template of Endpoints', () => {
  it('is rendered with the connection that asks', () => {
    expect(renderEndpoint(read(good), connection())).toEqual({
      name: 'nse-svc-n1',
      command: ['vwire', 'nse', 'icmp-responder'],
      environment: { NSM_SERVICE_NAMES: 'svc', NSM_LABELS: 'app:x' },
      namespace: 'nsc-0',
    });
  });

  it('needs nothing but a name', () => {
    expect(renderEndpoint(read('name: one\n'), connection())).toEqual({
      name: 'one',
      command: undefined,
      environment: {},
      namespace: 'one',
    });
  });

  it.each([
    ['command: [a]\n', 'name', 'nothing'],
    ['name: a\nenv: {}\n', 'line 2, env', 'the key env'],
    ['name: a\ncommand: vwire nse\n', 'line 2, command', '"vwire nse"'],
    ['name: a\ncommand: []\n', 'line 2, command', 'a list of 0'],
    ['name: a\nenvironment:\n  PORT: 8080\n', 'line 3, environment.PORT', 'number 8080'],
    ['name: a\nenvironment:\n  A-B: x\n', 'line 3, environment.A-B', '"x"'],
    ['name: "{{ .Nonsense }}"\n', 'line 1, name', '{{ .Nonsense }}'],
    ['name: a\nnamespace: "{{ printf .Id }}"\n', 'line 2, namespace', '{{ printf .Id }}'],
    ['name: a\nnamespace: "{{ .Id"\n', 'line 2, namespace', 'the end of the text'],
  ])('refuses %j at its place', (text, rule, found) => {
    const { code, details } = refused(() => read(text));
    expect(code).toBe('INVALID_ARGUMENT');
    expect(details.rule).toMatch(new RegExp(`${rule.replaceAll('.', '\\.')}$`));
    expect(details.found).toBe(found);
  });

  it('says of a template without quotes what is missing', () => {
    expect(refused(() => read('name: {{ .Id }}\n')).message).toMatch(/line 1/);
    expect(refused(() => read('name: { a: b }\n')).details.remedy).toMatch(/quotes/);
  });

  it('refuses a client that lacks a label which the template demands', () => {
    const labels = { nodeName: 'n1' };
    const without = create(ConnectionSchema, { id: 'a', networkService: 'svc', labels });
    expect(refused(() => renderEndpoint(read(good), without)).details).toMatchObject({
      rule: expect.stringContaining('app:{{ .Labels.app }}'),
      expected: 'a label app',
      found: 'labels nodeName',
    });
  });

  it.each(['../up', 'a/b', '', 'a b', '.hidden', 'x'.repeat(64), 'a..b', '-rf'])(
    'refuses the name %j, whatever client asks for it',
    (label) => {
      const template = read("name: '{{ .Labels.app }}'\n");
      const { details } = refused(() => renderEndpoint(template, connection({ app: label })));
      expect(details.rule).toBe('template, name');
    },
  );

  it('keeps a label inside its text, whatever is in it', () => {
    const template = read(`name: fixed\ncommand: [run, '--for={{ .Labels.app }}']\n`);
    fc.assert(
      fc.property(fc.string({ unit: 'binary' }), (label) => {
        fc.pre(!label.includes('\0'));
        const plan = renderEndpoint(template, connection({ app: label }));
        expect(plan).toEqual({
          name: 'fixed',
          command: ['run', `--for=${label}`],
          environment: {},
          namespace: 'fixed',
        });
      }),
    );
    expect(refused(() => renderEndpoint(template, connection({ app: 'a\0b' }))).code).toBe(
      'INVALID_ARGUMENT',
    );
  });
});

it('the language is that of the selectors: quoted texts, comments, trim marks', () => {
  const text = `a {{- /* nothing */ -}} b {{ "{{" }}{{ .Payload }}{{ .NetworkServiceEndpointName }}`;
  expect(renderConnectionTemplate(text, connection())).toBe('ab {{');
  expect(renderConnectionTemplate('{{index .Labels `none`}}', connection())).toBe('');
});
