// Loads a worker written in TypeScript when vwire runs from its sources (tests, development); the compiled
// package starts its workers directly. Plain JavaScript, because nothing has been compiled when it runs.

import { workerData } from 'node:worker_threads';

import { register } from 'tsx/esm/api';

register();
await import(workerData.module);
