// The rules of a client for an answer, with which the reference's NSC refuses a path that somebody has made up: every hop
// behind has left a token, and the next one's is signed by the peer that was called.

import { type Finding, refusalOf } from '../../protocols/authorization/finding.ts';
import { clientRules } from '../../protocols/authorization/token-rules.ts';
import type { Connection } from '../../protocols/nsm/gen/connection_pb.ts';
import type { Peer } from '../../protocols/ports/rpc.ts';
import type { AuthoritySetup } from './authority.ts';

/** Throws PERMISSION_DENIED. */
export type JudgeAnswer = (answer: Connection, peer: Peer) => void;

export function answerJudge({
  hop,
  reader,
  wallClock,
}: Pick<AuthoritySetup, 'hop' | 'reader' | 'wallClock'>): JudgeAnswer {
  return ({ path }, { binding, spiffeId, leaf }) => {
    if (binding === 'memory' || path === undefined) return;
    if (spiffeId === undefined || leaf === undefined) throw refusalOf(provesNothing, hop);
    const tokens = path.pathSegments.map(({ token }) => token);
    const nowEpochMs = wallClock.epochMs();
    const { index } = path;
    const peer = { spiffeId, leaf };
    const finding = clientRules({ tokens, index, peer, nowEpochMs }, reader);
    if (finding !== undefined) throw refusalOf(finding, hop);
  };
}

const provesNothing: Finding = {
  rule: 'peer_identity',
  code: 'UNAUTHENTICATED',
  expected: 'an answer of a peer that proves a SPIFFE ID with its certificate',
  found: 'one that proves none',
};
