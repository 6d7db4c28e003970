// `vwire status`: the parts of a node, what is wrong with each and what to do. Exit code 1 where something is wrong.

import { examine, type HealthView, type PartState, withoutManager } from '../inspect/health.ts';
import { withMesh } from '../inspect/mesh-client.ts';
import { managerUrl } from '../inspect/where.ts';
import { type Colour, createPaint } from '../output/colours.ts';
import { formatValue } from '../output/print.ts';
import { withProgress } from '../output/progress.ts';
import { formatTable } from '../output/table.ts';
import { parseArguments } from './arguments.ts';
import { exitCodes } from './catalog.ts';
import { connectionViews } from './get.ts';
import { outputFormat } from './output-format.ts';

export async function run(args: readonly string[]): Promise<number> {
  const parsed = parseArguments('status', args);
  const format = outputFormat(parsed);
  const url = managerUrl(parsed);
  const health = await withProgress(`asking the manager at ${url}`, () =>
    withMesh(url, (mesh) => examine(mesh, connectionViews)).catch((error: unknown) =>
      withoutManager(url, error),
    ),
  );
  process.stdout.write(format === 'table' ? healthText(health) : formatValue(health, format));
  return health.isHealthy ? exitCodes.ok : exitCodes.failed;
}

const colours: Readonly<Record<PartState, Colour>> = {
  ok: 'green',
  note: 'yellow',
  wrong: 'red',
  unknown: 'dim',
};

function healthText({ parts, isHealthy }: HealthView): string {
  const paint = createPaint(process.stdout, process.env);
  const table = formatTable(
    parts,
    [
      { title: 'PART', cell: ({ part }) => part },
      { title: 'STATE', cell: ({ state }) => state },
      { title: 'NAME', cell: ({ name }) => name },
      { title: 'FOUND', cell: ({ found }) => found },
    ],
    paint,
  );
  const todo = parts.flatMap(({ part, state, remedy }) =>
    remedy === null ? [] : [`${paint(colours[state], `${part}:`)} ${remedy}\n`],
  );
  const verdict = isHealthy
    ? paint('green', 'nothing is wrong')
    : paint('red', 'something is wrong');
  return `${table}${todo.join('')}${verdict}\n`;
}
