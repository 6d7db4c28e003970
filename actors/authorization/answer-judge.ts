// The rules of a client for an answer, with which the reference's NSC refuses a path that somebody has made up: every hop
// behind has left a token, and the next one's is signed by the peer that was called.

import { refusalOf } from '../../protocols/authorization/finding.ts';
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
  hasBus,
}: Pick<AuthoritySetup, 'hop' | 'reader' | 'wallClock' | 'hasBus'>): JudgeAnswer {
  return ({ path }, { binding, spiffeId = '', leaf }) => {
    if (binding === 'memory' || path === undefined) return;
    const tokens = path.pathSegments.map(({ token }) => token);
    const nowEpochMs = wallClock.epochMs();
    const { index } = path;
    const finding = clientRules(
      { tokens, index, peer: { spiffeId, leaf }, nowEpochMs, hasBus },
      reader,
    );
    if (finding !== undefined) throw refusalOf(finding, hop);
  };
}
