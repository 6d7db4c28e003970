// `vwire apply FILE`: registers the Network Services of a YAML file. The whole file is read and judged before the
// first service is registered, so that a mistake in it changes nothing.

import { NsmError } from '../../protocols/errors.ts';
import { withMesh } from '../inspect/mesh-client.ts';
import { managerUrl } from '../inspect/where.ts';
import { readNetworkServices } from '../network-service-file.ts';
import { withProgress } from '../output/progress.ts';
import { printable } from '../output/table.ts';
import { parseArguments } from './arguments.ts';
import { exitCodes } from './catalog.ts';
import { readOperandFile, standardInput } from './operand-file.ts';

export async function run(args: readonly string[]): Promise<number> {
  const parsed = parseArguments('apply', args);
  const [file = standardInput] = parsed.operands;
  const services = readNetworkServices(await readOperandFile(file), file);
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
