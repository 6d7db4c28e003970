// The operator's policy in WebAssembly, followed while the process runs. Invariant: a process that was told of one never
// serves without: a file that is not there or is wrong ends the start, and later leaves the last good policy in force.

import { describeError, NsmError } from '../../protocols/errors.ts';
import type { Log } from '../../protocols/ports/log.ts';
import type { OperatorPolicy } from '../../protocols/ports/operator-policy.ts';
import { policyBytesMax } from '../../transports/policy-wasm/policy-bytes.ts';
import { type BytesNews, watchBytes } from '../../transports/process/watched-file.ts';
import type { FollowedFile } from './followed-file.ts';

/** Undefined where there is to be none. Errors: INVALID_ARGUMENT, NOT_FOUND. */
export async function followOperatorPolicy(
  { policyWasm: file }: { readonly policyWasm: string | undefined },
  log: Log,
): Promise<FollowedFile<OperatorPolicy> | undefined> {
  if (file === undefined) return undefined;
  // Some 30 ms, which a start without such a policy need not take.
  const load = await import('../../transports/policy-wasm/operator-policy.ts');
  let value: OperatorPolicy | undefined;
  let refusal: unknown;
  const watched = watchBytes(file, { lengthMaxBytes: policyBytesMax }, (news) => {
    try {
      value = policyOf(file, news, load.operatorPolicyFrom);
      log.info('an operator policy was read', { file, judges: load.judgedBy(value) });
    } catch (error) {
      refusal = error;
      if (value === undefined) return;
      log.error('an operator policy is not used, the one before stays in force', {
        file,
        error: describeError(error),
      });
    }
  });
  const first = value;
  if (first === undefined) {
    watched.stop();
    throw refusal;
  }
  return {
    get value() {
      return value ?? first;
    },
    stop: () => watched.stop(),
  };
}

function policyOf(
  file: string,
  news: BytesNews,
  read: (bytes: Uint8Array) => OperatorPolicy,
): OperatorPolicy {
  const found = 'error' in news ? news.error.message : 'no such file';
  if ('error' in news || news.bytes === undefined) {
    throw new NsmError('NOT_FOUND', `cannot read ${file}`, {
      rule: 'VWIRE_POLICY_WASM',
      expected: 'a readable file',
      found,
    });
  }
  try {
    return read(news.bytes);
  } catch (error) {
    if (!(error instanceof NsmError)) throw error;
    const { code, message, details } = error;
    throw new NsmError(code, `${message}: ${file}`, {
      ...details,
      rule: 'VWIRE_POLICY_WASM',
      cause: error,
    });
  }
}
