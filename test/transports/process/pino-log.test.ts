// Protects secrets and operators: no token or key gets into a log line by any way in, the level changes at run time,
// and a hostile field cannot break the line.

import fc from 'fast-check';
import { afterEach, describe, expect, it } from 'vitest';
import { NsmError } from '../../../protocols/errors.ts';
import {
  changeLevelOnSignals,
  createProcessLog,
  readableLine,
} from '../../../transports/process/pino-log.ts';

const encode = (value: object) => Buffer.from(JSON.stringify(value)).toString('base64url');
const token = `${encode({ alg: 'ES256', typ: 'JWT' })}.${encode({ sub: 'spiffe://a/b' })}.c2lnbmF0dXJl`;

function capture(level: 'trace' | 'info' = 'trace') {
  const lines: string[] = [];
  const processLog = createProcessLog({
    level,
    fields: { component: 'nsmgr' },
    sink: { write: (line) => void lines.push(line) },
  });
  return { ...processLog, processLog, lines };
}

describe('redaction', () => {
  const plain = 'opaque-secret-value';
  const waysIn: readonly (readonly [string, Record<string, unknown>])[] = [
    ['a field named token', { token: plain }],
    ['a deep field named authorization', { headers: { Authorization: [`Bearer ${plain}`] } }],
    ['an object under a secret name', { credentials: { user: plain } }],
    ['bytes under any name', { body: new TextEncoder().encode(token) }],
    ['a path segment', { path: { pathSegments: [{ id: 'a', token }] } }],
    ['a JWT under a harmless name', { note: `got ${token} from peer` }],
    ['a JWT as a key', { [token]: 1 }],
    ['an error message', { error: new Error(`refused ${token}`) }],
    ['the cause of an error', { error: new Error('x', { cause: { text: token } }) }],
    ['the details of an NsmError', { error: new NsmError('INTERNAL', 'x', { found: token }) }],
    ['a map', { map: new Map([['k', token]]) }],
    ['a URL', { url: `nats://user:${plain}@127.0.0.1:4222` }],
    ['a private key', { pem: `-----BEGIN PRIVATE KEY-----\n${plain}\n-----END PRIVATE KEY-----` }],
  ];

  it.each(waysIn)('keeps the secret out of the line: %s', (_, fields) => {
    const { log, lines } = capture();
    log.child(fields).warn('seen', fields);
    expect(lines).toHaveLength(1);
    expect(lines[0]).not.toContain(token);
    expect(lines[0]).not.toContain(token.split('.')[0]);
    expect(lines[0]).not.toContain(plain);
  });

  it('redacts the message itself and keeps numbers with telling names', () => {
    const { log, lines } = capture();
    log.info(`sent ${token}`, { maxTokenLifetimeMs: 600_000 });
    expect(JSON.parse(lines[0] ?? '')).toMatchObject({
      component: 'nsmgr',
      level: 'info',
      msg: 'sent [redacted]',
      maxTokenLifetimeMs: 600_000,
    });
  });

  it('writes one valid line within bounds for any fields', () => {
    fc.assert(
      fc.property(fc.dictionary(fc.string(), fc.anything({ withBigInt: true })), (fields) => {
        const { log, lines } = capture();
        log.error('seen', fields);
        expect(lines).toHaveLength(1);
        expect(() => readableLine(lines[0] ?? '')).not.toThrow();
      }),
    );
  });

  it('lets no field pass for the level, time or message of its line', () => {
    const { log, lines } = capture();
    log.warn('seen', { level: 'info', msg: 'other', time: 'never' });
    const line = JSON.parse(lines[0] ?? '') as Record<string, unknown>;
    expect(line).toMatchObject({ level: 'warn', msg: 'seen', level_: 'info', msg_: 'other' });
  });

  it('survives cycles', () => {
    const { log, lines } = capture();
    const loop: Record<string, unknown> = {};
    loop['self'] = loop;
    log.info('seen', loop);
    expect(lines).toHaveLength(1);
  });
});

describe('the level', () => {
  let undo = () => {};
  afterEach(() => undo());

  it('is raised by SIGUSR1 and restored by SIGUSR2, for children that exist already', () => {
    const { log, lines, processLog } = capture('info');
    const child = log.child({ id: 1 });
    undo = changeLevelOnSignals(processLog);
    child.debug('one');
    process.emit('SIGUSR1');
    child.debug('two');
    process.emit('SIGUSR2');
    child.debug('three');
    child.info('four');
    expect(lines.map((line) => (JSON.parse(line) as { msg: string }).msg)).toEqual(['two', 'four']);
  });

  it('reads well on a terminal', () => {
    const { log, lines } = capture();
    log.info('wire made', { id: 'nsc-0', ms: 4 });
    expect(readableLine(lines[0] ?? '')).toMatch(
      /^\d\d:\d\d:\d\d\.\d{3} {2}info {3}wire made {2}component=nsmgr {2}id=nsc-0 {2}ms=4\n$/,
    );
  });
});
