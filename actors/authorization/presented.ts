// A connection as its caller presents it: with the token of the call's metadata in the caller's own segment, where the
// reference's updatetoken puts it before any rule is asked. A caller that claims a longer life than its token has gets
// that of the token.

import { create } from '@bufbuild/protobuf';
import { formatTokenExpiry, parseTokenExpiry } from '../../protocols/nsm/token-expiry.ts';
import { timestampFromEpochMs, timestampToEpochMs } from '../../protocols/nsm/expiry.ts';
import { type Connection, PathSegmentSchema } from '../../protocols/nsm/gen/connection_pb.ts';
import { enterPath, previousSegment, withSegment } from '../../protocols/nsm/path.ts';
import { tokenExpiresHeader, tokenHeader } from '../../protocols/nsm/token-metadata.ts';
import type { TokenReader } from '../../protocols/authorization/read-tokens.ts';
import type { CallContext, Headers } from '../../protocols/ports/rpc.ts';

export interface Presented {
  /** In the caller's view, to be passed on. */
  readonly connection: Connection;
  /** In this hop's view; the id is empty where this hop has no segment in it yet. */
  readonly entered: Connection;
  /** Up to the caller's, first hop first; none where the path begins here. */
  readonly tokens: readonly string[];
  readonly context: CallContext;
}

/** Throws INVALID_ARGUMENT where the path is none. */
export function present(
  sent: Connection | undefined,
  context: CallContext,
  { hop, reader }: { readonly hop: string; readonly reader: TokenReader },
): Presented {
  const before = enterPath(sent, hop, () => '');
  const callerAt = (before.path?.index ?? 0) - 1;
  if (sent === undefined || callerAt < 0) {
    return { connection: sent ?? before, entered: before, tokens: [], context };
  }
  const { token: known, expires } = previousSegment(before) ?? create(PathSegmentSchema);
  const token = context.headers[tokenHeader] ?? known;
  const read = reader.read(token);
  const endsMs = 'unreadable' in read ? 0 : read.expiresAtMs;
  const isTooLate = expires !== undefined && timestampToEpochMs(expires) > endsMs;
  const change = { token, ...(isTooLate ? { expires: timestampFromEpochMs(endsMs) } : {}) };
  const entered = withSegment(before, callerAt, change);
  const segments = entered.path?.pathSegments ?? [];
  return {
    connection: withSegment(sent, callerAt, change),
    entered,
    tokens: segments.slice(0, callerAt + 1).map((each) => each.token),
    context: withHeaders(context, expiringBy(context.headers, endsMs)),
  };
}

function expiringBy(headers: Headers, endsMs: number): Headers {
  const claimed = headers[tokenExpiresHeader];
  if (claimed === undefined || timestampToEpochMs(parseTokenExpiry(claimed)) <= endsMs) {
    return headers;
  }
  return { ...headers, [tokenExpiresHeader]: formatTokenExpiry(timestampFromEpochMs(endsMs)) };
}

/** The same call with other headers, and with `setHeader` where it is given. */
export function withHeaders(
  context: CallContext,
  headers: Headers,
  setHeader: CallContext['setHeader'] = (name, value) => context.setHeader(name, value),
): CallContext {
  const { signal, deadlineMs, peer, operation } = context;
  const own = { signal, deadlineMs, headers, peer, setHeader };
  return operation === undefined ? own : { ...own, operation };
}
