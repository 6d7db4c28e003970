// Protects docs/benchmarks.md from its own writers: each replaces what is its own and keeps the others' word for word.

import { expect, test } from 'vitest';

import { withSection, withTop } from '../../bench/document-section.ts';

const page = '# Benchmarks\n\nold table\n\n## Chaos\n\nold rows\n\n## Soak\n\nold slope\n';

test('a section is replaced', () => {
  expect(withSection(page, 'Chaos', '\nnew rows\n')).toBe(
    '# Benchmarks\n\nold table\n\n## Chaos\n\nnew rows\n\n## Soak\n\nold slope\n',
  );
});

test('the last section is replaced', () => {
  expect(withSection(page, 'Soak', 'new slope')).toBe(page.replace('old slope', 'new slope'));
});

test('a section that is not there yet is appended', () => {
  expect(withSection('# Benchmarks\n\ntable\n', 'Chaos', 'rows')).toBe(
    '# Benchmarks\n\ntable\n\n## Chaos\n\nrows\n',
  );
});

test('the top is replaced and the sections stay', () => {
  expect(withTop(page, '# Benchmarks\n\nnew table\n')).toBe(page.replace('old table', 'new table'));
  expect(withTop('# Benchmarks\n\nold table\n', '# Benchmarks\n\nnew\n')).toBe(
    '# Benchmarks\n\nnew\n',
  );
});
