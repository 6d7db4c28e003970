// Every case of the chaos table, in the order of its rows.

import type { ChaosCase } from '../case.ts';
import { controlPlaneCases, rollingRestart } from './control-plane.ts';
import { clientRestart, destroyedEndpoints, endpointRestart } from './workloads.ts';

export const allCases: readonly ChaosCase[] = [
  ...controlPlaneCases,
  clientRestart,
  endpointRestart,
  ...destroyedEndpoints,
  rollingRestart,
];
