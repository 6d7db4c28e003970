// Every case of the chaos table, in the order of its rows.

import type { ChaosCase } from '../case.ts';
import { controlPlaneCases, rollingRestart } from './control-plane.ts';
import { damageCases } from './damage.ts';
import { drainCases } from './drains.ts';
import { nodeLost, partitioned } from './nodes.ts';
import { upgradeCases } from './upgrades.ts';
import {
  clientRestart,
  destroyedEndpoints,
  endpointProcessLost,
  endpointRestart,
  serviceLost,
} from './workloads.ts';

export const allCases: readonly ChaosCase[] = [
  ...controlPlaneCases,
  clientRestart,
  endpointRestart,
  endpointProcessLost,
  serviceLost,
  ...destroyedEndpoints,
  nodeLost,
  ...damageCases,
  partitioned,
  ...drainCases,
  rollingRestart,
  ...upgradeCases,
];
