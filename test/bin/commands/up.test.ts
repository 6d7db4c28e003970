// Protects `vwire up` and the commands that look at it, with real processes in a namespace: what is started, what is
// shown under which names, what happens when a part dies, and that Ctrl-C leaves only the state directory.

import { spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import { createSandbox, type Sandbox, whyNoNamespaces } from '../../sandbox/namespaces.ts';
import { startProcess, startUp, type UpMesh, vwire } from '../../sandbox/up.ts';

const whyNot = whyNoNamespaces();
if (whyNot !== undefined) console.log(`skipped: vwire up needs namespaces: ${whyNot}`);

const links = async (sandbox: Sandbox, { namespace }: Pick<UpMesh, 'namespace'>) => {
  const { stdout } = await sandbox.run(namespace, ['ip', '-br', 'link']);
  return stdout.trim().split('\n');
};

/** A client and an Endpoint of `my-service`, connected. */
async function connectWorkloads(sandbox: Sandbox, mesh: UpMesh) {
  const env = {
    NSM_CONNECT_TO: mesh.socketUrl,
    NSM_BASE_DIR: mesh.stateDir,
    VWIRE_STATE_DIR: mesh.stateDir,
    NSM_SERVICE_NAMES: 'my-service',
    NSM_CIDR_PREFIX: '172.29.4.0/24',
    NSM_LABELS: 'colour:blue',
    NSM_NETWORK_SERVICES: 'kernel://my-service/nsm-1?app=test',
    NSM_UNREGISTER_ITSELF: 'true',
  };
  const { NSM_LABELS: _, ...clientEnv } = env;
  const [server, place] = [sandbox.namespace(), sandbox.namespace()];
  const nse = startProcess(sandbox, server, [...vwire, 'nse', 'icmp-responder'], {
    ...env,
    NSM_NAME: 'server',
    SPIFFE_ENDPOINT_SOCKET: `unix://${mesh.stateDir}/identity/nse.sock`,
  });
  await nse.line(/^ready/);
  const nsc = startProcess(sandbox, place, [...vwire, 'nsc'], {
    ...clientEnv,
    NSM_NAME: 'client',
    SPIFFE_ENDPOINT_SOCKET: `unix://${mesh.stateDir}/identity/nsc.sock`,
  });
  await nsc.line(/"established"/);
  return { nse, nsc, place };
}

describe.skipIf(whyNot !== undefined)('a mesh of vwire up', () => {
  const sandbox = createSandbox();
  let mesh: UpMesh;
  let workloads: Awaited<ReturnType<typeof connectWorkloads>>;
  const ask = (...args: readonly string[]) =>
    sandbox.run(mesh.namespace, [...vwire, ...args, '--state-dir', mesh.stateDir]);

  beforeAll(async () => {
    mesh = await startUp(sandbox);
    workloads = await connectWorkloads(sandbox, mesh);
  }, 240_000);

  afterAll(async () => {
    await sandbox.close();
    mesh?.forget();
  });

  it('names each part with its process, where workloads connect, and what to try', () => {
    const text = mesh.up.lines.join('\n');
    for (const part of ['bus', 'registry', 'node', 'manager', 'forwarder']) {
      expect(text).toMatch(new RegExp(`^  ${part} .*process \\d+`, 'm'));
    }
    expect(text).toContain(`Workloads connect to ${mesh.socketUrl}`);
    expect(text).toContain(`get nodes --state-dir ${mesh.stateDir}`);
    expect(mesh.up.errors).toBe('');
  });

  it.skipIf(process.getuid?.() !== 0)('leaves no part rights that it does not need', () => {
    const rights = (part: string, set: string): bigint => {
      const line = mesh.up.lines.find((each) => each.startsWith(`  ${part} `));
      const status = readFileSync(`/proc/${/process (\d+)/.exec(line ?? '')?.[1]}/status`, 'utf8');
      return BigInt(`0x${new RegExp(`^${set}:\\s*(\\w+)$`, 'm').exec(status)?.[1]}`);
    };
    for (const part of ['bus', 'registry', 'manager']) {
      expect([part, rights(part, 'CapEff'), rights(part, 'CapBnd')]).toEqual([part, 0n, 0n]);
    }
    // CAP_NET_ADMIN, CAP_SYS_PTRACE and CAP_SYS_ADMIN of linux/capability.h, and CAP_SETPCAP for the supervisor.
    const forwarder = (1n << 12n) | (1n << 19n) | (1n << 21n);
    expect(rights('forwarder', 'CapEff')).toBe(forwarder);
    expect(rights('node', 'CapEff')).toBe(forwarder | (1n << 8n));
  });

  it('get and describe show a wire under stable names', async () => {
    const list = await ask('get', 'connections', '-o', 'json');
    expect(list.exitCode).toBe(0);
    const [wire, ...others] = JSON.parse(list.stdout) as Record<string, unknown>[];
    expect(others).toEqual([]);
    expect(wire).toEqual({
      id: 'client-0',
      state: 'UP',
      networkService: 'my-service',
      client: 'client',
      endpoint: 'server',
      payload: 'ETHERNET',
      mtu: null,
      mechanism: {
        class: 'LOCAL',
        type: 'KERNEL',
        parameters: { name: 'nsm-1', inodeURL: workloads.place.inodeUrl },
      },
      addresses: { client: ['172.29.4.1/32'], endpoint: ['172.29.4.0/32'] },
      routes: {
        client: [{ prefix: '172.29.4.0/32', nextHop: null }],
        endpoint: [{ prefix: '172.29.4.1/32', nextHop: null }],
      },
      labels: { app: 'test' },
      path: ['client', 'nsmgr-up-node', 'forwarder-up-node', 'server'].map((name) => ({
        name,
        id: expect.any(String),
        expiresAt: expect.stringMatching(/^\d{4}-.*Z$/),
        expiresInMs: expect.any(Number),
      })),
      seenFrom: 1,
      ageMs: expect.any(Number),
      expiresInMs: expect.any(Number),
      closesInMs: expect.any(Number),
      keptPeriods: 0,
    });
    const described = await ask('describe', 'connection', 'cli', '-o', 'yaml');
    expect(parse(described.stdout)).toMatchObject({
      id: 'client-0',
      endpointEntry: {
        name: 'server',
        node: 'up-node',
        labels: { 'my-service': { colour: 'blue' } },
      },
    });
    const people = (await ask('describe', 'connection', 'client-0')).stdout;
    for (const text of ['LOCAL KERNEL', 'forwarder-up-node', '172.29.4.1/32', '< told by']) {
      expect(people).toContain(text);
    }
    expect(`${list.stdout}${described.stdout}${people}`).not.toMatch(/token/i);
  });

  it('why tells how the wire came to its forwarder and its Endpoint, now and from a file', async () => {
    const people = await ask('why', 'client-0');
    expect({ code: people.exitCode, errors: people.stderr }).toEqual({ code: 0, errors: '' });
    for (const line of [
      /^Endpoint for my-service: server$/m,
      /^server +taken/m,
      /^forwarder for my-service: forwarder-up-node$/m,
      /^forwarder-up-node +taken/m,
    ]) {
      expect(people.stdout).toMatch(line);
    }
    const record = await ask('why', 'cli', '-o', 'json');
    const file = join(mesh.stateDir, 'why.json');
    writeFileSync(file, record.stdout);
    expect((await ask('why', '--offline', file)).stdout).toBe(people.stdout);
    const [decision] = (JSON.parse(record.stdout) as { decisions: { id: string }[] }).decisions;
    expect((await ask('why', decision?.id ?? '')).stdout).toMatch(/^Endpoint for/);
    const now = await ask('why', '--service', 'my-service', '--label', 'app=test');
    expect(now.stdout).toMatch(/^server +may serve/m);
    const wrong = await ask('why', 'client-9');
    expect(wrong.exitCode).toBe(1);
    expect(wrong.stderr).toContain('did you mean client-0?');
  });

  it('get shows services, Endpoints and nodes', async () => {
    const [services, endpoints, nodes] = await Promise.all(
      ['services', 'endpoints', 'nodes'].map(async (kind) =>
        JSON.parse((await ask('get', kind, '-o', 'json')).stdout),
      ),
    );
    expect(services).toEqual([
      { name: 'my-service', payload: 'ETHERNET', endpoints: ['server'], matches: [] },
    ]);
    expect(endpoints.map(({ name }: { name: string }) => name)).toEqual([
      'forwarder-up-node',
      'server',
    ]);
    expect(nodes).toEqual([
      {
        name: 'up-node',
        manager: 'nsmgr-up-node',
        url: 'nats://local/up-node/nsmgr',
        version: expect.stringMatching(/^\d+\.\d+\.\d+/),
        startedAt: expect.stringMatching(/Z$/),
        ageMs: expect.any(Number),
        forwarders: ['forwarder-up-node'],
        endpoints: ['server'],
        state: 'ready',
        leaseAgeMs: expect.any(Number),
      },
    ]);
    expect((await ask('get', 'nodes')).stdout).toMatch(
      /^NAME +STATE +MANAGER .*\nup-node +ready +nsmgr-up-node/,
    );
  });

  it('an id that is not there is one line with the nearest one', async () => {
    const { exitCode, stdout, stderr } = await ask('describe', 'connection', 'cleint-0');
    expect({ exitCode, stdout }).toEqual({ exitCode: 1, stdout: '' });
    expect(stderr).toMatch(/^vwire: NOT_FOUND: .*"cleint-0".*did you mean client-0\?\)\n$/);
  });

  it('status finds nothing wrong, and a second up on the directory is refused with the pid', async () => {
    const status = await ask('status', '-o', 'json');
    const health = JSON.parse(status.stdout);
    expect(status.exitCode).toBe(0);
    expect(health).toMatchObject({
      isHealthy: true,
      node: 'up-node',
      connections: { UP: 1 },
      staleServices: [],
      quarantined: [],
    });
    expect(health.parts.map(({ part, state }: Record<string, string>) => [part, state])).toEqual([
      ['manager', 'ok'],
      ['bus', 'ok'],
      ['registry', 'ok'],
      ['forwarder', 'ok'],
      ['connections', 'ok'],
    ]);
    const second = await ask('up');
    expect(second.exitCode).toBe(1);
    expect(second.stderr).toMatch(/^vwire: FAILED_PRECONDITION: a mesh already runs on .*\n$/);
    expect(second.stderr).toContain(`process ${mesh.up.pid} holds it`);
  });

  it('a bus that is killed is started again under its URL, and the mesh finds it', async () => {
    const line = mesh.up.lines.find((each) => each.startsWith('  bus')) ?? '';
    const [, url, pid] = /at (\S+), process (\d+)/.exec(line) ?? [];
    process.kill(Number(pid), 'SIGKILL');
    await expect
      .poll(async () => JSON.parse((await ask('status', '-o', 'json')).stdout).isHealthy, {
        timeout: 60_000,
        interval: 200,
      })
      .toBe(true);
    const { parts } = JSON.parse((await ask('status', '-o', 'json')).stdout);
    expect(parts[1]).toMatchObject({ part: 'bus', name: url, found: 'connected' });
    expect(mesh.up.errors).toContain('the bus ended and is started again');
  }, 240_000);

  it('Ctrl-C takes down wires, processes and sockets, and leaves the state directory', async () => {
    expect((await links(sandbox, mesh)).length).toBeGreaterThan(1);
    const pids = [...mesh.up.lines.join('\n').matchAll(/process (\d+)/g)].map(([, pid]) => pid);
    expect(await mesh.up.end('SIGINT')).toBe(0);
    expect(await links(sandbox, mesh)).toEqual([expect.stringMatching(/^lo /)]);
    expect(await links(sandbox, { namespace: workloads.place })).toHaveLength(1);
    for (const pid of pids) expect(isRunning(Number(pid))).toBe(false);
    expect(readdirSync(mesh.stateDir).filter((name) => name.endsWith('.sock'))).toEqual([
      'server.sock',
    ]);
    await Promise.all([workloads.nsc.end('SIGTERM'), workloads.nse.end('SIGTERM')]);
    const status = await ask('status');
    expect(status.exitCode).toBe(1);
    expect(status.stdout).toMatch(/^manager +wrong .*there is no such socket$/m);
  }, 240_000);
});

describe.skipIf(whyNot !== undefined)('vwire up --bus memory', () => {
  let sandbox: Sandbox;
  let mesh: UpMesh | undefined;
  beforeEach(() => {
    sandbox = createSandbox();
  });
  afterEach(async () => {
    await sandbox.close();
    mesh?.forget();
  });

  it('starts again on the directory of one that was killed', async () => {
    mesh = await startUp(sandbox, ['--bus', 'memory']);
    const { namespace, stateDir } = mesh;
    await mesh.up.end('SIGKILL');
    const command = [...vwire, 'up', '--bus', 'memory', '--state-dir', stateDir] as const;
    const again = startProcess(sandbox, namespace, [...command], { VWIRE_NODE: 'up-node' });
    await again.line(/^Ctrl-C stops everything/);
    const status = await sandbox.run(namespace, [...vwire, 'status', '--state-dir', stateDir]);
    expect(status.stdout).toMatch(/^nothing is wrong$/m);
    expect(await again.end('SIGINT')).toBe(0);
    expect(readdirSync(stateDir).filter((name) => name.endsWith('.sock'))).toEqual([]);
  }, 240_000);

  it('runs all parts in one process and connects the same workloads', async () => {
    const running = await startUp(sandbox, ['--bus', 'memory']);
    mesh = running;
    const { nsc, nse, place } = await connectWorkloads(sandbox, running);
    const ping = await sandbox.run(place, ['ping', '-n', '-c', '1', '-W', '2', '172.29.4.0']);
    expect(ping.stdout).toContain(' 0% packet loss');
    const where = ['--connect-to', running.socketUrl];
    const status = await sandbox.run(running.namespace, [...vwire, 'status', ...where]);
    expect(status.stdout).toContain('none is used');
    expect(status.exitCode).toBe(0);
    const children = readFileSync(
      `/proc/${running.up.pid}/task/${running.up.pid}/children`,
      'utf8',
    );
    // The development identity server alone stands apart, as a SPIRE agent would.
    expect(children.trim()).toMatch(/^\d+$/);
    await nsc.end('SIGTERM');
    await nse.end('SIGTERM');
    expect(await running.up.end('SIGTERM')).toBe(0);
    expect(await links(sandbox, running)).toHaveLength(1);
  }, 240_000);
});

describe('vwire up with a wrong configuration', () => {
  const refused = (args: readonly string[], env: Readonly<Record<string, string>>) => {
    const [command, ...rest] = vwire;
    const stateDir = mkdtempSync(join(tmpdir(), 'vwire-up-'));
    rmSync(stateDir, { recursive: true });
    const { status, stdout, stderr } = spawnSync(
      command,
      [...rest, 'up', '--state-dir', stateDir, ...args],
      { encoding: 'utf8', env: { PATH: process.env['PATH'], ...env }, timeout: 60_000 },
    );
    expect({ stdout, made: existsSync(stateDir) }).toEqual({ stdout: '', made: false });
    expect(status).toBe(64);
    return stderr;
  };

  it.each([
    [[], { NSM_TUNNEL_IP: 'nonsense' }, /NSM_TUNNEL_IP: expected an IPv4 or IPv6 address/],
    [['--bus', 'memory'], { NSM_VXLAN_PORT: '70000' }, /NSM_VXLAN_PORT: expected .* 65535/],
    [[], { VWIRE_BUS: 'carrier-pigeon' }, /VWIRE_BUS: expected one of nats/],
    [['--bus', 'carrier-pigeon'], {}, /Allowed choices are nats, memory/],
  ])('%j %j ends with 64 before anything is made', (args, env, text) => {
    expect(refused(args, env)).toMatch(text);
  });
});

function isRunning(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}
