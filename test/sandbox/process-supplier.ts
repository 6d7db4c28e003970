// A process supplier of real processes in real namespaces, in a directory of its own, for tests: what it starts sleeps.

import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { EndpointPlan } from '../../protocols/nsm/endpoint-template.ts';
import type { Journal } from '../../protocols/ports/journal.ts';
import { silentLog } from '../../protocols/ports/log.ts';
import { createMemoryJournal } from '../../transports/journal/memory-journal.ts';
import { createNamedNamespaces } from '../../transports/netlink/named-namespaces.ts';
import { findByEnvironment, isAlive } from '../../transports/process/process-identity.ts';
import { createProcessSupplier } from '../../transports/process/process-supplier.ts';
import { systemClock } from '../../transports/process/system-clock.ts';
import { systemRandom } from '../../transports/process/system-random.ts';
import { eventually } from './eventually.ts';
import type { SupplierUnderTest } from '../contract/endpoint-supplier.ts';

export interface SupplierGround {
  readonly directory: string;
  readonly namespaces: ReturnType<typeof createNamedNamespaces>;
  /** Command line of every Endpoint. */
  command: readonly [string, ...string[]];
  journal: Journal;
  bootId: string;
  end(): void;
}

/** In the environment of what is started, so that a test finds it whatever its supplier knows. */
const nameVariable = 'TEST_ENDPOINT';

export function createGround(): SupplierGround {
  const directory = mkdtempSync(join(tmpdir(), 'vwire-supplier-'));
  return {
    directory,
    namespaces: createNamedNamespaces(join(directory, 'netns')),
    command: ['sleep', '600'],
    journal: createMemoryJournal(),
    bootId: 'this boot',
    end: () => rmSync(directory, { recursive: true }),
  };
}

export async function processSupplierOn(ground: SupplierGround): Promise<SupplierUnderTest> {
  const { directory, namespaces, journal, bootId } = ground;
  const pidOf = (name: string) => findByEnvironment(nameVariable, `${directory}/${name}`);
  const supplier = await createProcessSupplier({
    plan: ({ networkService }): EndpointPlan => ({
      name: `nse-${networkService}`,
      command: undefined,
      environment: {},
      namespace: `nse-${networkService}`,
    }),
    processOf: ({ name }) => ({
      command: ground.command,
      environment: { PATH: process.env['PATH'], [nameVariable]: `${directory}/${name}` },
    }),
    directory,
    namespaces,
    journal,
    clock: systemClock,
    random: systemRandom,
    bootId,
    log: silentLog,
  });
  return {
    supplier,
    async kill(name) {
      const found = pidOf(name);
      if (found === undefined) throw new Error(`there is no process of ${name}`);
      process.kill(found.pid, 'SIGKILL');
      await eventually(`${name} has ended`, 10_000, () => {
        if (isAlive(found)) throw new Error('it runs');
      });
    },
    traces: (name) => {
      const found = pidOf(name);
      const mounts = readFileSync('/proc/self/mounts', 'utf8');
      const path = join(directory, 'netns', name);
      return [
        ...(found !== undefined && isAlive(found) ? [`process ${found.pid}`] : []),
        ...(namespaces.exists(name) ? [`namespace ${name}`] : []),
        ...(mounts.includes(path) ? [`mount ${path}`] : []),
      ];
    },
    restart: () => processSupplierOn(ground),
  };
}
