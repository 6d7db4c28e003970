// Runs one suite in this process and sends its figures to the process that started it.
// Ends through process.exit, so that what a suite leaves open does not keep it and a profile is still written.

import { type Figure, Skipped } from './figure.ts';
import { suites } from './suites.ts';

/** What the parent hears. */
export type SuiteMessage =
  | { readonly figures: readonly Figure[] }
  | { readonly progress: string }
  /** This machine cannot run the suite, and why. */
  | { readonly skipped: string };

function send(message: SuiteMessage): Promise<void> {
  return new Promise((resolve) => {
    if (process.send === undefined) resolve();
    else process.send(message, undefined, undefined, () => resolve());
  });
}

async function runSuite(name: string): Promise<void> {
  const load = suites[name];
  if (load === undefined) throw new Error(`no suite ${name}`);
  const run = await load();
  try {
    await send({ figures: await run((progress) => void send({ progress })) });
  } catch (error) {
    if (!(error instanceof Skipped)) throw error;
    await send({ skipped: error.message });
  }
}

await runSuite(process.argv[2] ?? '');
process.exit(0);
