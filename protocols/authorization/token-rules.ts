// The rules of the reference about the tokens of a path, under the names of its policies (etc/nsm/opa), and two of ours:
// whoever presents a token is the one it was given to (prev_token_subject), and it was given to be used here
// (prev_token_audience). The reference has these only as a side effect of its chain. Pure: a rule returns what it found
// wrong, or undefined.

import type { Finding } from './finding.ts';
import type { ReadToken } from './read-tokens.ts';

/** The segments of a path that a rule may look at, first hop first. */
export type TokensOfPath = readonly ReadToken[];

export function tokensValid(tokens: TokensOfPath): Finding | undefined {
  for (const [index, token] of tokens.entries()) {
    if (!('unreadable' in token)) continue;
    const expected = `a JWT in path segment ${index}`;
    return { rule: 'tokens_valid', expected, found: token.unreadable };
  }
  return undefined;
}

export function tokensExpired(tokens: TokensOfPath, nowEpochMs: number): Finding | undefined {
  for (const [index, token] of tokens.entries()) {
    if ('unreadable' in token || nowEpochMs < token.expiresAtMs) continue;
    return {
      rule: 'tokens_expired',
      expected: `the token of path segment ${index} (${token.subject}) to end in the future`,
      found: `it ended ${Math.round(nowEpochMs - token.expiresAtMs)} ms ago`,
      remedy: 'refresh with a new token; compare the clocks of both machines',
    };
  }
  return undefined;
}

/** Each token names the one who presents the next as somebody it is for. */
export function tokensChained(tokens: TokensOfPath): Finding | undefined {
  for (const [index, token] of tokens.entries()) {
    const next = tokens[index + 1];
    if (next === undefined || 'unreadable' in token || 'unreadable' in next) continue;
    if (token.audience.includes(next.subject)) continue;
    return {
      rule: 'tokens_chained',
      expected: `the token of path segment ${index} (${token.subject}) to be for ${next.subject}`,
      found: audienceText(token.audience),
    };
  }
  return undefined;
}

/** Who stands at the other end of the call. */
export interface ProvenPeer {
  readonly spiffeId: string;
  /** DER of the certificate that proved it. */
  readonly leaf: Uint8Array;
}

export type IsSignedBy = (token: string, leaf: Uint8Array) => boolean;

/** The caller's own token, the last that a server looks at. */
export function prevTokenSigned(
  token: string,
  peer: ProvenPeer,
  isSignedBy: IsSignedBy,
): Finding | undefined {
  return signedBy('prev_token_signed', { token, peer, isSignedBy });
}

/** The token of whom a client has called; undefined where the answer has no such segment. */
export function nextTokenSigned(
  token: string | undefined,
  peer: ProvenPeer,
  isSignedBy: IsSignedBy,
): Finding | undefined {
  return signedBy('next_token_signed', { token, peer, isSignedBy });
}

interface Signed {
  readonly token: string | undefined;
  readonly peer: ProvenPeer;
  readonly isSignedBy: IsSignedBy;
}

function signedBy(rule: string, { token, peer, isSignedBy }: Signed): Finding | undefined {
  if (token !== undefined && token !== '' && isSignedBy(token, peer.leaf)) return undefined;
  const found = token === undefined || token === '' ? 'no token' : 'a signature by another key';
  return { rule, expected: `a token signed with the SVID key of ${peer.spiffeId}`, found };
}

export function prevTokenSubject(token: ReadToken, peer: ProvenPeer): Finding | undefined {
  if ('unreadable' in token || token.subject === peer.spiffeId) return undefined;
  const expected = `a token of the caller itself, ${peer.spiffeId}`;
  return { rule: 'prev_token_subject', expected, found: `one of ${token.subject}` };
}

export function prevTokenAudience(token: ReadToken, self: string): Finding | undefined {
  if ('unreadable' in token || token.audience.includes(self)) return undefined;
  const expected = `a token for this hop, ${self}`;
  return { rule: 'prev_token_audience', expected, found: audienceText(token.audience) };
}

const audienceText = (audience: readonly string[]): string =>
  audience.length === 0 ? 'a token for nobody' : `one for ${audience.join(', ')}`;

/** What a server judges a call by: the tokens up to the caller's, which is the last, and who called. */
export interface ServerView {
  readonly tokens: readonly string[];
  readonly peer: ProvenPeer;
  readonly self: string;
  /** Undefined: an expired token is no reason, since this call takes something away that is the caller's own. */
  readonly nowEpochMs: number | undefined;
  /** The rules of the reference that are asked; all of them where nothing was selected. */
  readonly selected?: ReadonlySet<string>;
}

/** What a server needs to know of tokens; a `TokenReader`. */
export interface Tokens {
  read(token: string): ReadToken;
  isSignedBy(token: string, leaf: Uint8Array): boolean;
}

/** The first rule that does not hold, in the order of the reference; the costly one last. */
export function serverRules(view: ServerView, tokens: Tokens): Finding | undefined {
  const { peer, self, nowEpochMs, selected } = view;
  const asks = (rule: string): boolean => selected?.has(rule) ?? true;
  const isSigned: IsSignedBy = (token, leaf) => tokens.isSignedBy(token, leaf);
  const presented = view.tokens.map((token) => tokens.read(token));
  const last = presented.at(-1);
  if (last === undefined) return noCaller;
  return (
    (asks('tokens_valid') ? tokensValid(presented) : undefined) ??
    (nowEpochMs !== undefined && asks('tokens_expired')
      ? tokensExpired(presented, nowEpochMs)
      : undefined) ??
    (asks('tokens_chained') ? tokensChained(presented) : undefined) ??
    prevTokenSubject(last, peer) ??
    prevTokenAudience(last, self) ??
    (asks('prev_token_signed')
      ? prevTokenSigned(view.tokens.at(-1) ?? '', peer, isSigned)
      : undefined)
  );
}

const noCaller: Finding = {
  rule: 'path.index',
  code: 'INVALID_ARGUMENT',
  expected: 'a path with a segment of the caller',
  found: 'a path that begins here',
  remedy: 'send the path with an own segment, and the token in the metadata nsm-client-token',
};

/** The tokens of a whole answer, and the place of the caller's own segment in it. */
export interface ClientView {
  readonly tokens: readonly string[];
  readonly index: number;
  /** Whom the caller has called. */
  readonly peer: ProvenPeer;
  readonly nowEpochMs: number;
}

/** What a client holds an answer to. */
export function clientRules(view: ClientView, tokens: Tokens): Finding | undefined {
  const returned = view.tokens.map((token) => tokens.read(token));
  return (
    tokensValid(returned) ??
    tokensExpired(returned, view.nowEpochMs) ??
    tokensChained(returned) ??
    nextTokenSigned(view.tokens[view.index + 1], view.peer, (token, leaf) =>
      tokens.isSignedBy(token, leaf),
    )
  );
}
