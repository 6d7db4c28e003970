// Protects what a hop takes from its caller's token: token and expiry of the call's metadata go into the previous
// segment as they came, and a caller that says nothing, nonsense or the past is refused.

import { describe, expect, it } from 'vitest';
import { emptyTokens, expiryOfPrevious, withTokens } from '../../../actors/connection/tokens.ts';
import { lifeHeader } from '../../../protocols/nsm/claimed-life.ts';
import { timestampFromEpochMs } from '../../../protocols/nsm/expiry.ts';
import { tokenExpiresHeader, tokenHeader } from '../../../protocols/nsm/token-metadata.ts';
import type { Headers } from '../../../protocols/ports/rpc.ts';
import { call, connectionAt } from './hop-request.ts';

const nowMs = Date.UTC(2026, 0, 1);
const wallClock = { epochMs: () => nowMs };
const setup = { name: 'hop', wallClock };
const tokens = emptyTokens(wallClock, 600_000);
const calling = (headers: Headers) => ({ ...call(), headers });

function withExpiry(inMs: number) {
  const connection = connectionAt(1, ['nsc', 'hop']);
  const [previous] = connection.path?.pathSegments ?? [];
  if (previous !== undefined) previous.expires = timestampFromEpochMs(nowMs + inMs);
  return connection;
}

describe('the expiry of the previous segment', () => {
  it('is what the metadata says, else what the path says', () => {
    const headers = { [tokenExpiresHeader]: '2026-01-01T00:01:00.000000001+00:00' };
    expect(expiryOfPrevious(withExpiry(5_000), calling(headers), setup)).toBeCloseTo(60_000);
    expect(expiryOfPrevious(withExpiry(5_000), call(), setup)).toBe(5_000);
  });

  it('that nobody says is refused', () => {
    expect(() => expiryOfPrevious(connectionAt(1, ['nsc', 'hop']), call(), setup)).toThrow(
      expect.objectContaining({
        code: 'INVALID_ARGUMENT',
        details: expect.objectContaining({ hop: 'hop', rule: 'update-token', found: 'neither' }),
      }),
    );
  });

  it.each([0, -1, -3_600_000])('that has passed (%i ms) is refused', (inMs) => {
    expect(() => expiryOfPrevious(withExpiry(inMs), call(), setup)).toThrow(
      expect.objectContaining({
        details: expect.objectContaining({ rule: 'tokens_expired', found: `${-inMs} ms ago` }),
      }),
    );
  });

  it('is the life that the caller claims, where no token is judged by the wall clock', () => {
    const headers = { [lifeHeader]: '90000' };
    expect(expiryOfPrevious(withExpiry(-3_600_000), calling(headers), setup)).toBe(90_000);
    const signed = { ...headers, [tokenHeader]: 'a.b.c' };
    expect(expiryOfPrevious(withExpiry(5_000), calling(signed), setup)).toBe(5_000);
  });

  it.each(['', '0', '-1', '1e3', '1.5', '99999999999999'])('claimed as "%s" is refused', (life) => {
    expect(() =>
      expiryOfPrevious(withExpiry(5_000), calling({ [lifeHeader]: life }), setup),
    ).toThrow(
      expect.objectContaining({
        code: 'INVALID_ARGUMENT',
        details: expect.objectContaining({ rule: lifeHeader, found: JSON.stringify(life) }),
      }),
    );
  });

  it('that cannot be read is refused', () => {
    const headers = { [tokenExpiresHeader]: 'tomorrow' };
    expect(() => expiryOfPrevious(withExpiry(5_000), calling(headers), setup)).toThrow(
      expect.objectContaining({ code: 'INVALID_ARGUMENT' }),
    );
  });
});

describe('the tokens of the path', () => {
  it('are the caller’s as it came, to the nanosecond, and an own one', async () => {
    const headers = {
      [tokenHeader]: 'caller.token',
      [tokenExpiresHeader]: '2026-01-01T02:00:30.123456789+02:00',
    };
    const signed = await withTokens(withExpiry(5_000), calling(headers), tokens);
    const [previous, own] = signed.path?.pathSegments ?? [];
    expect(previous?.token).toBe('caller.token');
    expect(previous?.expires).toMatchObject({
      seconds: BigInt(nowMs / 1000 + 30),
      nanos: 123_456_789,
    });
    expect(own?.expires).toEqual(timestampFromEpochMs(nowMs + 600_000));
  });

  it('leave the caller’s segment alone where the metadata says only a part', async () => {
    const asked = withExpiry(5_000);
    const signed = await withTokens(asked, calling({ [tokenHeader]: 'alone' }), tokens);
    expect(signed.path?.pathSegments[0]).toEqual(asked.path?.pathSegments[0]);
  });

  it('are asked for with the caller as their audience', async () => {
    const audiences: (string | undefined)[] = [];
    const source: typeof tokens = {
      async token(peer) {
        audiences.push(peer?.spiffeId);
        return { token: 'own', expiresAtEpochMs: nowMs + 1 };
      },
    };
    const peer = { binding: 'grpc', spiffeId: 'spiffe://test/nsc' } as const;
    const signed = await withTokens(withExpiry(5_000), { ...call(), peer }, source);
    expect(audiences).toEqual(['spiffe://test/nsc']);
    expect(signed.path?.pathSegments[1]?.token).toBe('own');
  });
});
