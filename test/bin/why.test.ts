// Protects what people are told of a choice: a record reads the same from the mesh and from a file, a file that is none is
// refused with the place, and what would be chosen now follows the rules that forwarders choose by.

import { create, type MessageInitShape } from '@bufbuild/protobuf';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterAll, describe, expect, it } from 'vitest';
import { UsageError } from '../../bin/commands/arguments.ts';
import { run } from '../../bin/commands/why.ts';
import { whyText } from '../../bin/inspect/decision-text.ts';
import { decisionView, readWhyFile, type WhyView } from '../../bin/inspect/decision-view.ts';
import { type MeshNow, wouldChoose } from '../../bin/inspect/would-choose.ts';
import { formatValue } from '../../bin/output/print.ts';
import { timestampFromEpochMs } from '../../protocols/nsm/expiry.ts';
import {
  NetworkServiceEndpointSchema,
  NetworkServiceSchema,
} from '../../protocols/nsm/gen/registry_pb.ts';
import { DecisionSchema } from '../../protocols/nsm/gen/vwire_inspect_pb.ts';

const decision = create(DecisionSchema, {
  id: '7f3a9c1e-17',
  atEpochMs: 1_700_000_000_000n,
  hop: 'forwarder-1',
  kind: 'endpoint',
  service: 'my-service',
  client: 'nsc',
  connectionIds: ['nsc-0', 'aa'],
  labels: { app: 'web' },
  policy: 'least-loaded',
  policyFrom: 'the labels of the Endpoints',
  turn: 4n,
  matches: [
    { match: 1, outcome: 'skipped', reason: 'client: label zone is absent, expected "a"' },
    { match: 2, outcome: 'decided', reason: '2 of 3 candidates are accepted' },
  ],
  candidates: 3,
  verdicts: [
    { name: 'nse-b', verdict: 'taken', reason: 'load 0' },
    { name: 'nse-a', verdict: 'failed', reason: 'UNAVAILABLE: away' },
    { name: 'nse-c', verdict: 'refused', reason: 'label app is "x", expected "web"' },
  ],
  unnamed: 7,
  taken: 'nse-b',
});

const why = (unheard: string[] = []): WhyView => ({
  asked: 'nsc-0',
  decisions: [decisionView(decision)],
  unheard,
});
const plain = (_: unknown, text: string) => text;

describe('a recorded decision', () => {
  it('is told with its matches, its candidates and their reasons', () => {
    expect(whyText(why(['forwarder-2: UNAVAILABLE: gone']), plain)).toBe(
      `Endpoint for my-service: nse-b
  decision    7f3a9c1e-17 by forwarder-1 at 2023-11-14T22:13:20.000Z
  client      nsc, connection nsc-0
  labels      app=web
  policy      least-loaded (the labels of the Endpoints), choice 4 of its match
  candidates  3
  matches     1 does not apply: client: label zone is absent, expected "a"
              2 decided: 2 of 3 candidates are accepted

ENDPOINT  VERDICT  WHY
nse-b     taken    load 0
nse-a     failed   UNAVAILABLE: away
nse-c     refused  label app is "x", expected "web"
and 7 more that are not named

not heard from forwarder-2: UNAVAILABLE: gone
`,
    );
  });

  it.each(['json', 'yaml'] as const)('reads the same from a file in %s', (format) => {
    const read = readWhyFile(formatValue(why(['x: y']), format), 'why.txt');
    expect(read).toEqual(why(['x: y']));
    expect(whyText(read, plain)).toBe(whyText(why(['x: y']), plain));
  });

  it('cannot steer the terminal by the names of others', () => {
    const view = why();
    const [first] = view.decisions;
    if (first === undefined) throw new Error('no decision');
    const nasty = { ...first, taken: 'a\u001b[2J', labels: { 'k\n': '\u202e' }, error: '\u0007' };
    const told = whyText({ ...view, decisions: [nasty] }, plain);
    for (const each of ['\u001b', '\u202e', '\u0007']) expect(told).not.toContain(each);
  });
});

describe('a file that holds no decision', () => {
  it.each([
    ['', 'the whole file'],
    ['{"asked": "x", "decisions": [{}], "unheard": []}', 'decisions.0'],
    ['{"asked": "x", "decisions": []', 'its text'],
    ['[1, 2]', 'the whole file'],
  ])('%s is refused with the place', (content, place) => {
    expect(() => readWhyFile(content, 'why.json')).toThrow(
      expect.objectContaining({
        code: 'INVALID_ARGUMENT',
        details: expect.objectContaining({ rule: expect.stringContaining(place) }),
      }),
    );
  });

  it('never gets past the reader as anything but a refusal', () => {
    const good = formatValue(why(), 'json');
    fc.assert(
      fc.property(fc.nat(good.length), fc.string({ maxLength: 5 }), (at, junk) => {
        try {
          readWhyFile(good.slice(0, at) + junk + good.slice(at + junk.length), 'f');
        } catch (error) {
          expect(error).toMatchObject({ code: 'INVALID_ARGUMENT' });
        }
      }),
      { numRuns: 300 },
    );
  });
});

describe('what would be chosen now', () => {
  const nowEpochMs = 1_000_000;
  type Fields = Omit<MessageInitShape<typeof NetworkServiceEndpointSchema>, '$typeName'>;
  const endpoint = (
    name: string,
    labels: Readonly<Record<string, string>>,
    { service = 'my-service', ...more }: { service?: string } & Fields = {},
  ) =>
    create(NetworkServiceEndpointSchema, {
      ...more,
      name,
      networkServiceNames: [service],
      networkServiceLabels: { [service]: { labels: { ...labels } } },
    });
  const mesh: MeshNow = {
    services: [
      create(NetworkServiceSchema, {
        name: 'my-service',
        matches: [
          { sourceSelector: { zone: 'a' }, routes: [{ destinationSelector: { app: 'none' } }] },
          {
            routes: [{ destinationSelector: { app: 'web' } }],
            metadata: { labels: { sriov: 'true', 'vwire.io/select': 'sticky' } },
          },
        ],
      }),
    ],
    endpoints: [
      endpoint('good', { app: 'web' }),
      endpoint('other', { app: 'db' }),
      endpoint('leaving', { app: 'web', 'vwire.io/draining': 'true' }),
      endpoint('over', { app: 'web' }, { expirationTime: timestampFromEpochMs(nowEpochMs - 1) }),
      endpoint('f-plain', { p2p: 'true' }, { service: 'forwarder' }),
      endpoint('f-sriov', { sriov: 'true' }, { service: 'forwarder' }),
      endpoint('f-elsewhere', { sriov: 'true' }, { service: 'forwarder' }),
    ],
    forwarders: new Set(['f-plain', 'f-sriov']),
    forwarderService: 'forwarder',
    nowEpochMs,
  };
  const verdicts = (labels: Record<string, string>, now = mesh) =>
    wouldChoose(now, { service: 'my-service', labels }).map((view) =>
      Object.fromEntries(
        view.verdicts.map(({ name, verdict, reason }) => [name, `${verdict} ${reason}`.trim()]),
      ),
    );

  it('names who may serve, and why each other may not, forwarder first', () => {
    expect(verdicts({})).toEqual([
      { 'f-sriov': 'mayServe', 'f-plain': 'refused label sriov is absent, expected "true"' },
      {
        good: 'mayServe',
        leaving: 'passedOver draining',
        over: 'passedOver expired',
        other: 'refused label app is "db", expected "web"',
      },
    ]);
    expect(verdicts({ zone: 'a' })[1]).toMatchObject({
      good: 'refused label app is "web", expected "none"',
    });
    const [, endpointView] = wouldChoose(mesh, { service: 'my-service', labels: {} });
    expect(endpointView).toMatchObject({ policy: 'sticky', policyFrom: 'the match', id: null });
  });

  it('leaves the forwarders out where the manager does not tell which are its own', () => {
    expect(verdicts({}, { ...mesh, forwarders: undefined })).toHaveLength(1);
  });

  it('for an unknown service names the nearest', () => {
    expect(() => wouldChoose(mesh, { service: 'my-servise', labels: {} })).toThrow(
      expect.objectContaining({
        code: 'NOT_FOUND',
        details: expect.objectContaining({ remedy: 'did you mean my-service?' }),
      }),
    );
  });
});

describe('the command line', () => {
  const place = mkdtempSync(join(tmpdir(), 'vwire-why-'));
  afterAll(() => rmSync(place, { recursive: true, force: true }));

  it.each([
    [[]],
    [['id', '--service', 's']],
    [['id', '--offline', 'f']],
    [['id', '--label', 'a=b']],
    [['--service', 's', '--label', 'a']],
    [['--service', 's', '--label', 'a=b', '--label', '=c']],
  ])('%j is refused as such', async (args) => {
    await expect(run(args)).rejects.toBeInstanceOf(UsageError);
  });

  it('names a file that cannot be read, and one that holds something else', async () => {
    await expect(run(['--offline', join(place, 'absent')])).rejects.toMatchObject({
      code: 'NOT_FOUND',
    });
    const file = join(place, 'odd');
    writeFileSync(file, 'hello');
    await expect(run(['--offline', file])).rejects.toMatchObject({ code: 'INVALID_ARGUMENT' });
  });
});
