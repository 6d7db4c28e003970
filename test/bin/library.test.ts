// Protects the public API where nothing works: each mistake and each missing peer is one clear refusal, and nothing
// is left of the attempt.

import { spawnSync } from 'node:child_process';
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, it, vi } from 'vitest';
import { createClient, createEndpoint, type ClientOptions, NsmError } from '../../bin/library.ts';

const client: ClientOptions = {
  name: 'client',
  service: 'service',
  connectTo: 'unix:///nonexistent/nsm.io.sock',
  insecure: true,
  connectTimeoutMs: 1_500,
  requestTimeoutMs: 200,
};
const endpoint = { ...client, name: 'endpoint', services: ['service'] };

async function refusal(attempt: Promise<unknown>): Promise<NsmError> {
  const thrown: unknown = await attempt.then(
    () => undefined,
    (error: unknown) => error,
  );
  if (thrown instanceof NsmError) return thrown;
  throw new Error(`expected an NsmError, found ${String(thrown)}`);
}

const timers = () => process.getActiveResourcesInfo().filter((name) => name === 'Timeout').length;

it.each([
  ['name', () => createClient({ ...client, name: '' })],
  ['service', () => createClient({ ...client, service: '' })],
  ['interfaceName', () => createClient({ ...client, interfaceName: 'sixteen-bytes-if' })],
  ['name', () => createEndpoint({ ...endpoint, name: '' })],
  ['services', () => createEndpoint({ ...endpoint, services: [] })],
  ['addresses', () => createEndpoint({ ...endpoint, addresses: ['10.0.0.0/33'] })],
])('a wrong %s is refused before anything is opened', async (rule, attempt) => {
  const { code, details } = await refusal(attempt());
  expect(code).toBe('INVALID_ARGUMENT');
  expect(details.rule).toContain(rule);
  expect(details.expected).toBeDefined();
});

it('an identity is demanded unless plaintext is asked for', async () => {
  const { code, details } = await refusal(createEndpoint({ ...endpoint, insecure: false }));
  expect([code, details.rule]).toEqual(['FAILED_PRECONDITION', 'SPIFFE_ENDPOINT_SOCKET']);
});

it('a client without a manager fails in its time with the last reason, and leaves no timer', async () => {
  const before = timers();
  const phases: string[] = [];
  const attempt = createClient({ ...client, onStatus: ({ phase }) => phases.push(phase) });
  expect((await refusal(attempt)).code).toBe('UNAVAILABLE');
  expect(phases.at(-1)).toBe('closed');
  expect(timers()).toBeLessThanOrEqual(before);
});

it.each([
  ['without a manager', 'UNAVAILABLE', {}],
  ['without an identity', 'FAILED_PRECONDITION', { insecure: false }],
])('an Endpoint %s fails in its time and leaves no directory', async (...row) => {
  const [, expected, options] = row;
  const place = mkdtempSync(join(tmpdir(), 'vwire-library-'));
  // The directory of the Endpoint's socket is made where TMPDIR says.
  vi.stubEnv('TMPDIR', place);
  try {
    expect((await refusal(createEndpoint({ ...endpoint, ...options }))).code).toBe(expected);
    expect(readdirSync(place)).toEqual([]);
  } finally {
    vi.unstubAllEnvs();
    rmSync(place, { recursive: true, force: true });
  }
});

it('a failed attempt keeps no process alive', () => {
  const library = new URL('../../bin/library.ts', import.meta.url).href;
  const script = `
    import { createClient, createEndpoint } from '${library}';
    const options = ${JSON.stringify({ ...endpoint, connectTimeoutMs: 500 })};
    for (const create of [createClient, createEndpoint]) {
      await create(options).catch(({ code }) => console.log(code));
    }`;
  const { stdout, stderr, status } = spawnSync(
    process.execPath,
    ['--import', 'tsx', '--input-type=module', '-e', script],
    { encoding: 'utf8', timeout: 15_000, cwd: join(import.meta.dirname, '../..') },
  );
  expect({ stdout, stderr, status }).toEqual({
    stdout: 'UNAVAILABLE\nUNAVAILABLE\n',
    stderr: '',
    status: 0,
  });
});
