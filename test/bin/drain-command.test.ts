// Protects what a person who drains sees: who has moved and who stays and why, in words and as JSON, exit codes that a script
// can rely on, and one clear line for a mistake; and that a watch of the connections tells each change and ends with Ctrl-C.

import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { afterAll, beforeAll, expect, it, vi } from 'vitest';
import {
  type SimulatedMesh,
  type SimulatedPair,
  simulatedStage,
  startSimulatedMesh,
} from '../../bin/demo/simulated-mesh.ts';
import { eventually } from '../sandbox/eventually.ts';
import { vwire } from '../sandbox/up.ts';

// Each command is a process that is compiled first.
vi.setConfig({ testTimeout: 120_000, hookTimeout: 60_000 });

const stateDir = mkdtempSync(join(tmpdir(), 'vwire-drain-command-'));
const connectTo = ['--connect-to', `unix://${stateDir}/node-1/nsm.io.sock`];
let mesh: SimulatedMesh;

/** Two Endpoints of one service, near and far, with a client each; a third service has one Endpoint alone. */
function pairsOf(nodes: ReturnType<typeof simulatedStage>['nodes']): readonly SimulatedPair[] {
  const [near, far] = nodes;
  const pair = (service: string, number: number, node: typeof near): SimulatedPair => ({
    service,
    payload: 'IP',
    cidrPrefix: `172.16.${number}.0/24`,
    client: { name: `client-${number}`, node: near },
    endpoint: { name: `server-${number}`, node },
  });
  return [pair('shared', 1, near), pair('shared', 2, far), pair('alone', 3, far)];
}

beforeAll(async () => {
  const { nodes } = simulatedStage();
  const pairs = pairsOf(nodes);
  mesh = await startSimulatedMesh({ nodes, pairs }, stateDir);
  for (const pair of pairs) await mesh.connected(pair, 20_000);
});

afterAll(async () => {
  await mesh.stop();
  rmSync(stateDir, { recursive: true, force: true });
});

interface Run {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

function start(...args: readonly string[]) {
  const [program, ...before] = vwire;
  const child = spawn(program, [...before, ...args, ...connectTo]);
  let [stdout, stderr] = ['', ''];
  child.stdout.on('data', (chunk: Buffer) => (stdout += chunk.toString()));
  child.stderr.on('data', (chunk: Buffer) => (stderr += chunk.toString()));
  const ended = new Promise<Run>((resolve) =>
    child.once('close', (code) => resolve({ code, stdout, stderr })),
  );
  return { child, ended };
}

const run = (...args: readonly string[]): Promise<Run> => start(...args).ended;

it('drains an Endpoint whose clients have another one, and takes it back', async () => {
  const { child, ended } = start('get', 'connections', '--watch', '-o', 'json');
  const lines: { event: string; connection: { id: string; state: string; endpoint: string } }[] =
    [];
  createInterface({ input: child.stdout }).on('line', (line) =>
    lines.push(JSON.parse(line) as never),
  );
  await eventually('what there is', 20_000, () => expect(lines).toHaveLength(3));
  expect(lines.map(({ event }) => event)).toEqual(['PRESENT', 'PRESENT', 'PRESENT']);
  const ofServer1 = lines.filter(({ connection }) => connection.endpoint === 'server-1').length;

  const drained = await run('drain', 'endpoint', 'server-1', '-o', 'json', '--timeout', '40s');
  expect(drained, drained.stderr).toMatchObject({ code: 0 });
  expect(JSON.parse(drained.stdout)).toMatchObject({
    kind: 'endpoint',
    name: 'server-1',
    isDone: true,
    manager: 'nsmgr-node-1',
    endpoints: [{ name: 'server-1', moved: ofServer1, left: 0, connections: [] }],
  });
  await eventually('the watch tells of the move', 20_000, () => {
    const states = lines.map(({ connection }) => connection.state);
    if (ofServer1 > 0) expect(states).toContain('RESELECT_REQUESTED');
    const now = new Map(lines.map(({ connection }) => [connection.id, connection.endpoint]));
    expect([...now.values()]).not.toContain('server-1');
  });
  child.kill('SIGINT');
  expect(await ended).toMatchObject({ code: 0, stderr: '' });

  const undone = await run('drain', 'endpoint', 'server-1', '--undo');
  expect(undone).toMatchObject({ code: 0, stdout: 'endpoint server-1 takes new clients again\n' });
});

it('says who stays and why, with exit code 1', async () => {
  const { code, stdout } = await run('drain', 'endpoint', 'server-3', '--timeout', '40s');
  expect(code).toBe(1);
  expect(stdout).toMatch(/^ENDPOINT +MOVED +LEFT\nserver-3 +0 +1\n/);
  expect(stdout).toMatch(
    /client-3-0 of client-3 is still here \(stuck\): .*no other Endpoint of alone fits/,
  );
  expect(await run('drain', 'endpoint', 'server-3', '--undo')).toMatchObject({ code: 0 });
});

it('shows a node that drains as such', async () => {
  const { code, stdout } = await run('drain', 'node', 'node-2', '--timeout', '20s', '-o', 'json');
  expect(code).toBe(1);
  expect(JSON.parse(stdout)).toMatchObject({ manager: 'nsmgr-node-2', node: 'node-2' });
  const nodes = await run('get', 'nodes', '-o', 'json');
  expect(JSON.parse(nodes.stdout)).toMatchObject([
    { name: 'node-1', state: 'ready', leaseAgeMs: expect.any(Number) },
    { name: 'node-2', state: 'draining' },
  ]);
  expect(await run('drain', 'node', 'node-2', '--undo')).toMatchObject({ code: 0 });
});

it.each([
  [['drain', 'endpoint', 'nobody'], 1, /there is no Endpoint nobody/],
  [['drain', 'node', 'nowhere'], 1, /there is no node nowhere/],
  [['drain', 'endpoint', 'server-1', '--timeout', 'soon'], 64, /--timeout expects a duration/],
  [['drain', 'house', 'x'], 64, /house/],
  [['get', 'nodes', '--watch'], 64, /--watch is for connections/],
  [['get', 'connections', '--watch', '-o', 'yaml'], 64, /no yaml/],
])('%j ends with %i and one clear line', async (args, code, text) => {
  const ended = await run(...args);
  expect(ended.code).toBe(code);
  expect(ended.stderr).toMatch(text);
  expect(ended.stdout).toBe('');
});
