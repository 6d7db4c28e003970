// The import table of docs/ARCHITECTURE.md as a function: may this file import that specifier?
// Invariant: the same table stands in .oxlintrc.json, where the editor shows it; test/tidy.test.ts plants a
// violation of each row in both.

import { posix } from 'node:path';
import type { ImportLine } from './source.ts';

const pureFolders: readonly string[] = ['protocols', 'actors', 'dataplane'];
const projectFolders: readonly string[] =
  'actors bench bin dataplane deploy docs protocols test transports'.split(' ');

export const isPure = (path: string): boolean => pureFolders.includes(path.split('/')[0] ?? '');

const isPackage = (specifier: string, name: string): boolean =>
  specifier === name || specifier.startsWith(`${name}/`);

function refusePackage(path: string, specifier: string): string | undefined {
  const inRuntime = path.startsWith('actors/runtime/');
  const mayUseNact = inRuntime || path.startsWith('test/') || path.startsWith('bench/');
  if (isPackage(specifier, 'nact')) {
    return mayUseNact ? undefined : 'only actors/runtime imports nact';
  }
  if (isPure(path) && !isPackage(specifier, '@bufbuild/protobuf')) {
    return 'a pure folder imports no package but @bufbuild/protobuf';
  }
  return undefined;
}

/** Two levels name an actor, a data plane or a transport: `actors/connection`. */
const ownFolder = (path: string): string => path.split('/').slice(0, 2).join('/');

function refuseActorImport(from: string, target: string, typeOnly: boolean): string | undefined {
  const own = ownFolder(from);
  if (target.startsWith('protocols/') || target.startsWith(`${own}/`)) return undefined;
  const isActor = target.startsWith('actors/') && own !== 'actors/runtime';
  const isPublic =
    target.startsWith('actors/runtime/') || /^actors\/[^/]+\/messages\.ts$/.test(target);
  return isActor && (isPublic || typeOnly)
    ? undefined
    : 'actors import protocols, the runtime, their own folder, and of other actors messages.ts and types';
}

function refuseProjectImport(from: string, target: string, typeOnly: boolean): string | undefined {
  const top = from.split('/')[0] ?? '';
  const targetTop = target.split('/')[0] ?? '';
  switch (top) {
    case 'protocols':
      return targetTop === 'protocols' ? undefined : 'protocols imports only itself';
    case 'actors':
      return refuseActorImport(from, target, typeOnly);
    case 'dataplane':
    case 'transports':
      return targetTop === 'protocols' || target.startsWith(`${ownFolder(from)}/`)
        ? undefined
        : `${top} imports protocols and its own folder`;
    case 'bin':
      return ['test', 'bench', 'deploy'].includes(targetTop)
        ? 'entry points import no tests, benches or deployments'
        : undefined;
    default:
      return undefined;
  }
}

/** Why the import is not allowed, or undefined where it is. `path` is relative to the repository, with `/`. */
export function refuseImport(path: string, line: ImportLine): string | undefined {
  if (!line.specifier.startsWith('.')) return refusePackage(path, line.specifier);
  if (!/\.(ts|mjs|json)$/.test(line.specifier)) {
    return 'a relative import names its file with the ending .ts';
  }
  const target = posix.join(posix.dirname(path), line.specifier);
  if (!projectFolders.includes(target.split('/')[0] ?? '')) {
    return 'a relative import stays inside the project folders';
  }
  return refuseProjectImport(path, target, line.typeOnly);
}
