// Protects the templates of selectors: what of Go's syntax is read, and that nothing unreadable passes as a value.

import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { renderTemplate } from '../../../protocols/nsm/template.ts';

const labels = { nodeName: 'n1', 'pod-name': 'p', empty: '' };

describe('renderTemplate', () => {
  it.each([
    ['plain', 'plain'],
    ['{{ .nodeName }}', 'n1'],
    ['{{.nodeName}}-{{.nodeName}}', 'n1-n1'],
    ['{{index . "pod-name"}}', 'p'],
    ['{{ index . `pod-name` }}', 'p'],
    ['{{index . "absent"}}', ''],
    ['{{.empty}}', ''],
    ['a {{- .nodeName -}} b', 'an1b'],
    ['{{"quoted }} text"}}', 'quoted }} text'],
    ['x{{/* a }} comment */}}y', 'xy'],
    [String.raw`{{"a\"b\\"}}`, String.raw`a"b\ `.trim()],
  ])('renders %s', (text, expected) => {
    expect(renderTemplate(text, labels)).toBe(expected);
  });

  it.each([
    '{{ .absent }}',
    '{{ .pod-name }}',
    '{{ .a.b }}',
    '{{',
    '{{}}',
    '{{ if .nodeName }}x{{ end }}',
    '{{ .nodeName | printf "%s" }}',
    '{{ index . nodeName }}',
    '{{ "open }}',
    '{{ .constructor }}',
    '{{ .__proto__ }}',
    `{{${'x'.repeat(5000)}}}`,
  ])('refuses %s', (text) => {
    expect(() => renderTemplate(text, labels)).toThrow(
      expect.objectContaining({ code: 'INVALID_ARGUMENT' }),
    );
  });

  it('names the key and the labels that are there', () => {
    expect(() => renderTemplate('{{ .absent }}', labels)).toThrow(/absent/);
    expect(() => renderTemplate('{{ .absent }}', labels)).toThrow(
      expect.objectContaining({
        details: expect.objectContaining({ found: expect.stringContaining('nodeName') }),
      }),
    );
  });

  it('leaves text without actions alone and puts values in as they are', () => {
    fc.assert(
      fc.property(fc.string(), fc.string(), fc.string(), (before, value, after) => {
        fc.pre(!`${before}|${after}`.includes('{{') && !before.endsWith('{'));
        expect(renderTemplate(before, {})).toBe(before);
        expect(renderTemplate(`${before}{{ .v }}${after}`, { v: value })).toBe(
          before + value + after,
        );
      }),
    );
  });
});
