// Starts a module as a worker thread, from TypeScript sources as well as from the compiled package.

import { createRequire } from 'node:module';
import { Worker } from 'node:worker_threads';

/** `module` relative to `importerUrl`, without its extension; it gets the one that `importerUrl` has. */
export function startWorker(
  importerUrl: string,
  module: string,
  data: Readonly<Record<string, unknown>>,
): Worker {
  const options = { workerData: data, execArgv: [] };
  if (!importerUrl.endsWith('.ts')) {
    return new Worker(new URL(`${module}.js`, importerUrl), options);
  }
  const require = createRequire(import.meta.url);
  const { programOf } = require('./from-source.cjs') as {
    programOf: (url: string) => string;
  };
  const program = programOf(new URL(`${module}.ts`, importerUrl).href);
  return new Worker(program, { ...options, eval: true });
}
