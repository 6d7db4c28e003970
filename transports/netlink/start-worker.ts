// Starts a module as a worker thread, from TypeScript sources as well as from the compiled package.

import { Worker } from 'node:worker_threads';

/** `moduleUrl` without its extension; it gets the one that `importerUrl` has. */
export function startWorker(
  importerUrl: string,
  module: string,
  data: Readonly<Record<string, unknown>>,
): Worker {
  if (!importerUrl.endsWith('.ts')) {
    return new Worker(new URL(`${module}.js`, importerUrl), { workerData: data, execArgv: [] });
  }
  const source = new URL(`${module}.ts`, importerUrl).href;
  return new Worker(new URL('./from-source.mjs', import.meta.url), {
    workerData: { ...data, module: source },
    execArgv: [],
  });
}
