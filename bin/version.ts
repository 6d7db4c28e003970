// The version in package.json, which lies in the nearest folder above the sources, and above what is made of them.

import { existsSync, readFileSync } from 'node:fs';

export function version(): string {
  let file = new URL('../package.json', import.meta.url);
  while (!existsSync(file)) file = new URL('../package.json', file);
  return (JSON.parse(readFileSync(file, 'utf8')) as { version: string }).version;
}
