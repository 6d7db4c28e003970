// The API definitions that the tests run over: those of a forwarder, every construct of the language, an older layout;
// and all of a real VPP where VWIRE_VPP_API_DIR names the folder of its `*.api.json`.

import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { ApiModule } from '../../../protocols/vpp/api-definition.ts';
import { parseApiJson } from '../../../protocols/vpp/parse-api.ts';
import { forwarderModules } from './forwarder-api.ts';

export const fixtureFolder = join(import.meta.dirname, 'api');

function modulesIn(folder: string): ApiModule[] {
  return readdirSync(folder, { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('.api.json'))
    .flatMap((name) => parseApiJson(readFileSync(join(folder, name), 'utf8'), name));
}

export const forwarderApi: readonly ApiModule[] = parseApiJson(
  JSON.stringify(forwarderModules()),
  'forwarder',
);

export const constructs: readonly ApiModule[] = modulesIn(fixtureFolder);

const folder = process.env['VWIRE_VPP_API_DIR'];

/** Undefined without a folder of real definitions. */
export const realApi: readonly ApiModule[] | undefined =
  folder === undefined ? undefined : modulesIn(folder);

/** By name, for `describe.each`. */
export const knownApis: readonly (readonly [string, readonly ApiModule[]])[] = [
  ['a forwarder', forwarderApi],
  ['constructs and layouts', constructs],
  ...(realApi === undefined ? [] : [['a real VPP', realApi] as const]),
];
