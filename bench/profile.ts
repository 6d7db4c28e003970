// Reads what node --cpu-prof and --heap-prof wrote and names the top costs, for the line under a missed target.

import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';

interface Frame {
  readonly functionName: string;
  readonly url: string;
  readonly lineNumber: number;
}

interface CpuProfile {
  readonly nodes: readonly { readonly id: number; readonly callFrame: Frame }[];
  readonly samples: readonly number[];
  readonly timeDeltas: readonly number[];
}

interface HeapNode {
  readonly callFrame: Frame;
  readonly selfSize: number;
  readonly children: readonly HeapNode[];
}

const namedMax = 6;
/** Processes that cost less than this share of the costliest one explain nothing. */
const worthNaming = 0.2;

export type ProfileKind = 'cpu' | 'heap';

/** One line per profiled process that matters: its busiest functions, or those that made most of what it holds. */
export async function topCosts(folder: string): Promise<readonly string[]> {
  const profiles: { readonly what: string; readonly costs: ReadonlyMap<string, number> }[] = [];
  for (const name of await readdir(folder)) {
    const profile: unknown = JSON.parse(await readFile(join(folder, name), 'utf8'));
    profiles.push(
      name.endsWith('.cpuprofile')
        ? { what: 'CPU', costs: cpuCosts(profile as CpuProfile) }
        : { what: 'heap', costs: heapCosts((profile as { head: HeapNode }).head) },
    );
  }
  const most = Math.max(...profiles.map(({ costs }) => sum(costs)));
  return profiles
    .filter(({ costs }) => sum(costs) > worthNaming * most)
    .toSorted((a, b) => sum(b.costs) - sum(a.costs))
    .map(({ what, costs }) => `${what}: ${named(costs)}`);
}

function cpuCosts({ nodes, samples, timeDeltas }: CpuProfile): Map<string, number> {
  const names = new Map(nodes.map(({ id, callFrame }) => [id, nameOf(callFrame)]));
  const costs = new Map<string, number>();
  for (const [at, id] of samples.entries()) {
    const name = names.get(id) ?? '';
    if (name !== '(idle)') costs.set(name, (costs.get(name) ?? 0) + (timeDeltas[at] ?? 0));
  }
  return costs;
}

function heapCosts(head: HeapNode): Map<string, number> {
  const costs = new Map<string, number>();
  const waiting = [head];
  for (let node = waiting.pop(); node !== undefined; node = waiting.pop()) {
    const name = nameOf(node.callFrame);
    costs.set(name, (costs.get(name) ?? 0) + node.selfSize);
    for (const child of node.children) waiting.push(child);
  }
  return costs;
}

function nameOf({ functionName, url, lineNumber }: Frame): string {
  if (functionName.startsWith('(') && url === '') return functionName;
  const file = url.replace(/^.*\/node_modules\/(?!\.cache)/, '').replace(/^.*\/out\//, '');
  return `${functionName || 'a function'}${file === '' ? '' : ` of ${file}:${lineNumber + 1}`}`;
}

function named(costs: ReadonlyMap<string, number>): string {
  const total = sum(costs);
  return [...costs]
    .toSorted(([, a], [, b]) => b - a)
    .slice(0, namedMax)
    .map(([name, cost]) => `${((100 * cost) / total).toFixed(0)} % ${name}`)
    .join(', ');
}

function sum(costs: ReadonlyMap<string, number>): number {
  let total = 0;
  for (const cost of costs.values()) total += cost;
  return total;
}
