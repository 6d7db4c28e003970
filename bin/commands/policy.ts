// `vwire policy test FILE`: reads an access policy as a role would and runs the tests that stand in it, without a mesh. With
// `--wasm POLICY` those of FILE are run against a policy of the operator's own.

import { readFile } from 'node:fs/promises';
import { accessPolicyFrom } from '../../protocols/authorization/access-policy-document.ts';
import { decide } from '../../protocols/authorization/access-policy.ts';
import { policyEntrypoints } from '../../protocols/authorization/operator-policy.ts';
import { operatorPolicyTestsFrom } from '../../protocols/authorization/operator-policy-tests.ts';
import { NsmError } from '../../protocols/errors.ts';
import type { PositionOf } from '../../protocols/nsm/document-reader.ts';
import { systemWallClock } from '../../transports/process/system-clock.ts';
import { printListing } from '../output/print.ts';
import { readYamlDocument } from '../yaml-file.ts';
import { parseArguments } from './arguments.ts';
import { exitCodes } from './catalog.ts';
import { readOperandFile } from './operand-file.ts';
import { outputFormat } from './output-format.ts';

interface Result {
  readonly isPassed: boolean;
  readonly line: number | null;
  readonly client: string;
  readonly operation: string;
  readonly service: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly expect: string;
  readonly effect: string;
  /** What decided. */
  readonly by: string;
}

export async function run(args: readonly string[]): Promise<number> {
  const parsed = parseArguments('policy', args);
  const [, file = ''] = parsed.operands;
  const { wasm } = parsed.options;
  const text = await readOperandFile(file);
  const kind = wasm === undefined ? 'access policy' : 'policy tests';
  const document = readYamlDocument(text, { kind, name: file });
  const results = await resultsOf(document, wasm);
  printListing({ rows: results, columns }, outputFormat(parsed));
  const failed = results.filter(({ isPassed }) => !isPassed).length;
  process.stderr.write(`${results.length} tests, ${failed} failed\n`);
  return failed === 0 ? exitCodes.ok : exitCodes.failed;
}

type Document = { readonly value: unknown; readonly positionOf: PositionOf } | undefined;

async function resultsOf(document: Document, wasm: string | true | undefined) {
  const { value = {}, positionOf = () => undefined } = document ?? {};
  if (wasm === undefined) return ofAccessPolicy(value, positionOf);
  return ofOperatorPolicy(await readPolicy(String(wasm)), value, positionOf);
}

async function readPolicy(file: string): Promise<Uint8Array> {
  try {
    return await readFile(file);
  } catch (error) {
    throw new NsmError('NOT_FOUND', `cannot read ${file}`, {
      expected: 'a policy in WebAssembly, or a bundle with one',
      found: (error as NodeJS.ErrnoException).code ?? String(error),
    });
  }
}

function ofAccessPolicy(document: unknown, positionOf: PositionOf): readonly Result[] {
  const policy = accessPolicyFrom(document, positionOf);
  return policy.tests.map((test) => {
    const { line, expect, client, operation, service, labels } = test;
    const { effect, by } = decide(policy, test);
    const isPassed = effect === expect;
    return { isPassed, line: line ?? null, client, operation, service, labels, expect, effect, by };
  });
}

async function ofOperatorPolicy(
  bytes: Uint8Array,
  document: unknown,
  positionOf: PositionOf,
): Promise<readonly Result[]> {
  const { operatorPolicyFrom } = await import('../../transports/policy-wasm/operator-policy.ts');
  const policy = operatorPolicyFrom(bytes);
  const tests = operatorPolicyTestsFrom(document, positionOf, systemWallClock.epochMs());
  return tests.map(({ question, expect, line }) => {
    const isJudged = policy.judges(question.operation);
    const finding = isJudged ? policy.judge(question) : undefined;
    const effect = finding === undefined ? 'allow' : 'deny';
    const { operation, client = '', service = question.name ?? '', labels = {} } = question;
    const entrypoint = policyEntrypoints[operation];
    const reason = finding === undefined ? '' : `: ${finding.found}`;
    const by = isJudged ? `${entrypoint}${reason}` : `default, without ${entrypoint}`;
    const isPassed = effect === expect;
    return { isPassed, line: line ?? null, client, operation, service, labels, expect, effect, by };
  });
}

const columns = [
  { title: 'TEST', cell: ({ isPassed }: Result) => (isPassed ? 'passed' : 'FAILED') },
  { title: 'LINE', cell: ({ line }: Result) => line ?? undefined },
  { title: 'CLIENT', cell: ({ client }: Result) => client },
  { title: 'MAY', cell: ({ operation, service }: Result) => `${operation} ${service}` },
  { title: 'EXPECTED', cell: ({ expect }: Result) => expect },
  { title: 'FOUND', cell: ({ effect, by }: Result) => `${effect} by ${by}` },
];
