// Protects what people are told: which connection an id means, what counts as wrong with a node and what to do, how
// spans of time read, how this program is called again, and one clear line for a socket that cannot be asked.

import { create, type MessageInitShape } from '@bufbuild/protobuf';
import { linkSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterAll, describe, expect, it } from 'vitest';
import { ownCommand, shellQuoted } from '../../bin/commands/own-command.ts';
import { connectionView, findConnection } from '../../bin/inspect/connection-view.ts';
import { spanText } from '../../bin/inspect/durations.ts';
import { type Findings, healthOf, withoutManager } from '../../bin/inspect/health.ts';
import { withMesh } from '../../bin/inspect/mesh-client.ts';
import { endpointView, nodeViews } from '../../bin/inspect/views.ts';
import { managerUrl } from '../../bin/inspect/where.ts';
import { missingRights, requireRights } from '../../bin/roles/up-rights.ts';
import { describeError, NsmError } from '../../protocols/errors.ts';
import { ConnectionSchema, State } from '../../protocols/nsm/gen/connection_pb.ts';
import { NetworkServiceEndpointSchema } from '../../protocols/nsm/gen/registry_pb.ts';
import {
  BusSchema,
  ForwarderSchema,
  RepairSchema,
  StatusReplySchema,
  StuckConnectionSchema,
} from '../../protocols/nsm/gen/vwire_inspect_pb.ts';

const view = (ids: readonly string[], state: State = State.UP) =>
  connectionView(
    create(ConnectionSchema, {
      id: ids[1] ?? '',
      state,
      path: {
        index: 1,
        pathSegments: ids.map((id) => ({ id, name: `hop ${id}`, token: 'secret' })),
      },
    }),
    undefined,
    0,
  );

function refusal(run: () => unknown): NsmError {
  try {
    run();
  } catch (error) {
    if (error instanceof NsmError) return error;
  }
  throw new Error('expected a refusal');
}

describe('the id of a connection', () => {
  const views = [view(['nsc-0', 'aa11', 'cc']), view(['nsc-1', 'aa22']), view(['nsc', 'bb33'])];

  it.each([
    ['nsc-0', 'nsc-0'],
    ['aa2', 'nsc-1'],
    ['cc', 'nsc-0'],
    ['nsc', 'nsc'],
    ['b', 'nsc'],
  ])('%s means %s', (wanted, id) => {
    expect(findConnection(views, wanted).id).toBe(id);
  });

  it('that begins several is refused with their ids, an unknown one with the nearest', () => {
    const several = refusal(() => findConnection(views, 'aa'));
    expect([several.code, several.details.found]).toEqual(['INVALID_ARGUMENT', 'nsc-0, nsc-1']);
    const unknown = refusal(() => findConnection(views, 'nsd-1'));
    expect([unknown.code, unknown.details.remedy]).toEqual(['NOT_FOUND', 'did you mean nsc-1?']);
    expect(refusal(() => findConnection(views, '')).code).toBe('NOT_FOUND');
    expect(refusal(() => findConnection([], 'x')).details.found).toBe('no connections at all');
  });

  it('of a chain, which passes the manager twice, means where it came by first', () => {
    const [once, again] = [view(['nsc-0', 'aa']), view(['nsc-0', 'aa', 'bb', 'cc'])];
    const later = { ...again, seenFrom: 4 };
    expect(findConnection([later, once], 'nsc-0')).toBe(once);
    expect(findConnection([later, once], 'cc')).toBe(later);
  });

  it('in full is always found, whatever the others are called', () => {
    const id = fc.string({ minLength: 1, maxLength: 8 });
    fc.assert(
      fc.property(fc.uniqueArray(id, { minLength: 1 }), fc.nat(), (ids, pick) => {
        const wanted = ids[pick % ids.length] ?? '';
        expect(
          findConnection(
            ids.map((each) => view([each])),
            wanted,
          ).id,
        ).toBe(wanted);
      }),
    );
  });

  it('comes with everything but the tokens', () => {
    expect(JSON.stringify(views)).not.toContain('secret');
  });
});

describe('the health of a node', () => {
  const forwarder = create(StatusReplySchema, { dataplane: 'kernel', connections: 2, pid: 7 });
  const status = create(StatusReplySchema, {
    name: 'nsmgr-1',
    node: 'node-1',
    version: '1.0.0',
    bus: { url: 'nats://127.0.0.1:4222', status: 'connected' },
    registryUrl: 'nats://d/registry/registry',
    forwarders: [{ name: 'forwarder-1', url: 'nats://d/node-1/forwarder', status: forwarder }],
  });
  const fine: Findings = { url: 'unix:///x', status, registry: 3, connections: [view(['a', 'b'])] };
  const withForwarder = (fields: MessageInitShape<typeof ForwarderSchema>) => ({
    ...status,
    forwarders: [create(ForwarderSchema, fields)],
  });
  const wrongParts = (findings: Findings) =>
    healthOf(findings)
      .parts.filter(({ state }) => state === 'wrong')
      .map(({ part }) => part);

  it('is good where every part is', () => {
    const { isHealthy, parts, connections } = healthOf(fine);
    expect({ isHealthy, connections }).toEqual({ isHealthy: true, connections: { UP: 1 } });
    expect(parts.every(({ state }) => state === 'ok')).toBe(true);
  });

  it('says what a forwarder has repaired, and is good nevertheless', () => {
    const lastRepair = create(RepairSchema, {
      connectionId: 'aa11',
      found: ['vw1 towards the client is down'],
      agoMs: 3_000n,
    });
    const repaired = create(StatusReplySchema, { ...forwarder, repairs: 2, lastRepair });
    const { isHealthy, parts } = healthOf({
      ...fine,
      status: withForwarder({ name: 'forwarder-1', status: repaired }),
    });
    expect(isHealthy).toBe(true);
    expect(parts.find(({ part }) => part === 'forwarder')?.found).toContain(
      '2 repairs, the last 3 s ago of aa11: vw1 towards the client is down',
    );
  });

  it.each<[string, Partial<Findings>]>([
    ['bus', { status: { ...status, bus: create(BusSchema, { status: 'disconnected' }) } }],
    ['registry', { registry: new NsmError('DEADLINE_EXCEEDED', 'no answer') }],
    ['forwarder', { status: { ...status, forwarders: [] } }],
    ['forwarder', { status: withForwarder({ error: 'UNAVAILABLE: gone' }) }],
    ['connections', { connections: [view(['a', 'b'], State.DOWN)] }],
  ])('is bad without its %s, and says what to do', (part, change) => {
    const findings = { ...fine, ...change };
    expect(wrongParts(findings)).toEqual([part]);
    const health = healthOf(findings);
    expect(health.isHealthy).toBe(false);
    expect(health.parts.find(({ state }) => state === 'wrong')?.remedy).toBeTruthy();
  });

  it('notes what is being taken care of, without calling it wrong', () => {
    const quarantined = { ...forwarder, quarantined: ['w1'] };
    const stuck = [create(StuckConnectionSchema, { id: 'c1', why: 'nobody else fits' })];
    const told = { ...withForwarder({ status: quarantined }), staleServices: ['s1'], stuck };
    const health = healthOf({ ...fine, status: told });
    expect(health).toMatchObject({
      isHealthy: true,
      staleServices: ['s1'],
      quarantined: ['w1'],
    });
    const notes = health.parts.filter(({ state }) => state === 'note').map(({ part }) => part);
    expect(notes).toEqual(['discovery', 'wires', 'connections']);
    expect(health.parts.at(-1)).toMatchObject({ name: 'c1', found: 'nobody else fits' });
  });

  it('of a foreign manager is what NSM tells, the rest unknown', () => {
    const states = healthOf({ ...fine, status: 'foreign' }).parts.map(({ part, state }) => [
      part,
      state,
    ]);
    expect(states).toEqual([
      ['manager', 'note'],
      ['bus', 'unknown'],
      ['registry', 'ok'],
      ['forwarder', 'unknown'],
      ['connections', 'ok'],
    ]);
  });

  it('without a manager is one wrong part with the reason', () => {
    const health = withoutManager('unix:///x', new NsmError('UNAVAILABLE', 'no', { remedy: 'do' }));
    expect(health).toMatchObject({ isHealthy: false, parts: [{ state: 'wrong', remedy: 'do' }] });
  });
});

describe('nodes and Endpoints', () => {
  const endpoint = (name: string, service: string, labels: Readonly<Record<string, string>>) =>
    create(NetworkServiceEndpointSchema, {
      name,
      networkServiceNames: [service],
      networkServiceLabels: { [service]: { labels: { ...labels } } },
    });

  it('a node without an entry is known by the labels of what runs there', () => {
    const nodes = nodeViews(
      [
        endpoint('vwire-node-n1', 'vwire-node', { nodeName: 'n1', incarnation: '1000' }),
        endpoint('f1', 'forwarder', { nodeName: 'n1' }),
        endpoint('e1', 'service', { nodeName: 'n1' }),
        endpoint('go-forwarder', 'forwarder', { nodeName: 'n0' }),
        endpoint('elsewhere', 'service', {}),
      ],
      'forwarder',
      3_000,
    );
    expect(nodes).toMatchObject([
      { name: 'n0', manager: null, ageMs: null, forwarders: ['go-forwarder'], endpoints: [] },
      { name: 'n1', ageMs: 2_000, forwarders: ['f1'], endpoints: ['e1'] },
    ]);
  });

  it('a time that no calendar has is shown as unknown', () => {
    const odd = create(NetworkServiceEndpointSchema, {
      name: 'odd',
      expirationTime: { seconds: 2n ** 62n, nanos: 0 },
    });
    expect(endpointView(odd, 0).expiresAt).toBeNull();
  });
});

it.each([
  [null, '-'],
  [-1, 'over'],
  [12.4, '12 ms'],
  [59_999, '59 s'],
  [61_000, '1 min 1 s'],
  [3_600_000, '1 h'],
  [90_061_000, '1 d 1 h'],
])('%s ms read %s', (ms, text) => {
  expect(spanText(ms)).toBe(text);
});

describe('how this program is called again', () => {
  const call = (script: string, environment = {}) =>
    ownCommand({ script, executable: '/usr/bin/node', environment });

  it('as it was called', () => {
    expect(call('/usr/local/bin/vwire')).toBe('vwire');
    expect(call('/x/vwire.js', { npm_command: 'exec' })).toBe('npx vwire');
    expect(call('/a b/vwire.js')).toBe("/usr/bin/node '/a b/vwire.js'");
    expect(call('/x/vwire.ts')).toBe('/usr/bin/node --import tsx /x/vwire.ts');
  });

  it('quotes whatever a shell would take apart', () => {
    expect(shellQuoted("it's")).toBe("'it'\\''s'");
    expect(shellQuoted('')).toBe("''");
  });
});

describe('the rights that vwire up needs', () => {
  it.each([
    ['0000003fffffffff', []],
    ['0000000000000000', ['CAP_NET_ADMIN', 'CAP_SYS_ADMIN']],
    ['0000000000001000', ['CAP_SYS_ADMIN']],
  ])('of %s lack %j', (effective, missing) => {
    expect(missingRights(`Name:\tnode\nCapEff:\t${effective}\n`)).toEqual(missing);
  });

  it('are named with two ways to get them', () => {
    const { code, details } = refusal(() => requireRights('vwire up', ['CAP_SYS_ADMIN']));
    expect(code).toBe('PERMISSION_DENIED');
    expect(details.found).toContain('CAP_SYS_ADMIN');
    expect(details.remedy).toContain('as root');
    expect(details.remedy).toContain('unshare --user --map-root-user');
    expect(requireRights('vwire up', [])).toBeUndefined();
  });
});

describe('a manager that cannot be asked', () => {
  const place = mkdtempSync(join(tmpdir(), 'vwire-inspect-'));
  afterAll(() => rmSync(place, { recursive: true, force: true }));
  const ask = async (url: string): Promise<string> =>
    withMesh(url, (mesh) => mesh.services()).then(
      () => 'an answer',
      (error: unknown) => describeError(error),
    );

  it('is named with its socket, the reason and what to do, in one line', async () => {
    const file = join(place, 'file.sock');
    writeFileSync(file, '');
    const abandoned = join(place, 'abandoned.sock');
    await abandonSocket(abandoned);
    for (const [path, reason] of [
      [join(place, 'absent.sock'), 'there is no such socket'],
      [file, 'what is there is no socket'],
      [abandoned, 'nobody serves that socket any more'],
    ] as const) {
      const line = await ask(`unix://${path}`);
      expect(line).toContain(`no manager answers at unix://${path} (found: ${reason}`);
      expect(line).toContain('vwire up');
      expect(line).not.toContain('\n');
    }
  });

  it.each(['nats://d/n/nsmgr', 'nonsense', 'unix://', 'tcp://:0'])('refuses %s', async (url) => {
    expect(await ask(url)).toMatch(/^INVALID_ARGUMENT: .*expected: /);
  });

  it('is not guessed where two are named', () => {
    const options = { stateDir: '/x', connectTo: 'unix:///y' };
    expect(() => managerUrl({ operands: [], options })).toThrow(/--state-dir and --connect-to/);
  });
});

/** Leaves a socket file behind, as a killed process does. */
async function abandonSocket(path: string): Promise<void> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(`${path}.live`, resolve));
  linkSync(`${path}.live`, path);
  await new Promise((resolve) => server.close(resolve));
}
