// Protects the start of a supplier: a template that is missing or wrong is one error of the configuration, with its place.

import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { ConfigError } from '../../../bin/config/variables.ts';
import { readSupplierTemplate } from '../../../bin/roles/supplier-template.ts';

let directory = '';
let path = '';

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'vwire-template-'));
  path = join(directory, 'endpoint.yaml');
});

afterEach(() => rmSync(directory, { recursive: true }));

function refused(text?: string): string {
  if (text !== undefined) writeFileSync(path, text);
  try {
    readSupplierTemplate(path);
  } catch (thrown) {
    expect(thrown).toBeInstanceOf(ConfigError);
    return (thrown as ConfigError).message;
  }
  throw new Error('nothing was refused');
}

it('is read where it is good', () => {
  writeFileSync(path, "name: 'nse-{{ .NetworkService }}'\n");
  expect(readSupplierTemplate(path).name).toBe('nse-{{ .NetworkService }}');
});

it.each([
  [undefined, /VWIRE_SUPPLIER_TEMPLATE .*endpoint\.yaml: expected a YAML file .*; found ENOENT$/],
  ['', /a mapping: name, command.*found: nothing/],
  ['name: a\ncommand: x\n', /line 2, command/],
  ['name: {{ .Id }}\n', /line 1/],
  ['name: a\n---\nname: b\n', /expected: one YAML document; found: 2/],
])('%j is refused', (text, message) => {
  expect(refused(text)).toMatch(message);
});
