// `vwire delete service NAME`: takes a Network Service out of the registry. What is connected stays connected.

import { NsmError } from '../../protocols/errors.ts';
import { withMesh } from '../inspect/mesh-client.ts';
import { managerUrl } from '../inspect/where.ts';
import { withProgress } from '../output/progress.ts';
import { printable } from '../output/table.ts';
import { parseArguments } from './arguments.ts';
import { exitCodes } from './catalog.ts';
import { nearestName } from './nearest-name.ts';

export async function run(args: readonly string[]): Promise<number> {
  const parsed = parseArguments('delete', args);
  const [, name = ''] = parsed.operands;
  const url = managerUrl(parsed);
  await withProgress(`asking the manager at ${url}`, () =>
    withMesh(url, async (mesh) => {
      const services = await mesh.services();
      const service = services.find((each) => each.name === name);
      if (service === undefined) {
        const near = nearestName(
          name,
          services.map((each) => each.name),
        );
        throw new NsmError('NOT_FOUND', `no Network Service ${printable(name)} is registered`, {
          remedy: near === undefined ? 'see: vwire get services' : `did you mean ${near}?`,
        });
      }
      await mesh.unregisterService(service);
    }),
  );
  process.stdout.write(`unregistered service ${printable(name)}\n`);
  return exitCodes.ok;
}
