// The version in package.json, which lies one folder above the sources and two above the compiled files.

import { readFileSync } from 'node:fs';

export function version(): string {
  const depth = import.meta.url.endsWith('.ts') ? '..' : '../..';
  const text = readFileSync(new URL(`${depth}/package.json`, import.meta.url), 'utf8');
  return (JSON.parse(text) as { version: string }).version;
}
