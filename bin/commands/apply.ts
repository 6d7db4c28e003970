// `vwire apply FILE`: registers the Network Services of a YAML file. The whole file is read and judged before the
// first service is registered, so that a mistake in it changes nothing.

import { readFile } from 'node:fs/promises';
import { text as textOf } from 'node:stream/consumers';
import { NsmError } from '../../protocols/errors.ts';
import { withMesh } from '../inspect/mesh-client.ts';
import { managerUrl } from '../inspect/where.ts';
import { readNetworkServices } from '../network-service-file.ts';
import { withProgress } from '../output/progress.ts';
import { printable } from '../output/table.ts';
import { parseArguments } from './arguments.ts';
import { exitCodes } from './catalog.ts';

const standardInput = '-';

export async function run(args: readonly string[]): Promise<number> {
  const parsed = parseArguments('apply', args);
  const [file = standardInput] = parsed.operands;
  const services = readNetworkServices(await contentOf(file), file);
  if (services.length === 0) {
    throw new NsmError('INVALID_ARGUMENT', 'the file names no Network Service', {
      rule: file,
      expected: 'at least one document with kind NetworkService, or with a name',
      found: 'none',
    });
  }
  const url = managerUrl(parsed);
  await withProgress(`asking the manager at ${url}`, () =>
    withMesh(url, async (mesh) => {
      for (const service of services) {
        await mesh.registerService(service);
        process.stdout.write(`registered service ${printable(service.name)}\n`);
      }
    }),
  );
  return exitCodes.ok;
}

async function contentOf(file: string): Promise<string> {
  if (file === standardInput) return textOf(process.stdin);
  try {
    return await readFile(file, 'utf8');
  } catch (error) {
    throw new NsmError('NOT_FOUND', `cannot read ${file}`, {
      expected: 'a readable YAML file, or - for standard input',
      found: (error as NodeJS.ErrnoException).code ?? String(error),
    });
  }
}
