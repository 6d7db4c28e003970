// `vwire policy test FILE`: reads an access policy as a role would and runs the tests that stand in it, without a mesh.

import { accessPolicyFrom } from '../../protocols/authorization/access-policy-document.ts';
import { type AccessPolicy, decide } from '../../protocols/authorization/access-policy.ts';
import { printListing } from '../output/print.ts';
import { readYamlDocument } from '../yaml-file.ts';
import { parseArguments } from './arguments.ts';
import { exitCodes } from './catalog.ts';
import { readOperandFile } from './operand-file.ts';
import { outputFormat } from './output-format.ts';

export async function run(args: readonly string[]): Promise<number> {
  const parsed = parseArguments('policy', args);
  const [, file = ''] = parsed.operands;
  const text = await readOperandFile(file);
  const document = readYamlDocument(text, { kind: 'access policy', name: file });
  const results =
    document === undefined ? [] : resultsOf(accessPolicyFrom(document.value, document.positionOf));
  printListing({ rows: results, columns }, outputFormat(parsed));
  const failed = results.filter(({ isPassed }) => !isPassed).length;
  process.stderr.write(`${results.length} tests, ${failed} failed\n`);
  return failed === 0 ? exitCodes.ok : exitCodes.failed;
}

type Result = ReturnType<typeof resultsOf>[number];

function resultsOf(policy: AccessPolicy) {
  return policy.tests.map((test) => {
    const { client, operation, service, labels, expect, line } = test;
    const { effect, by } = decide(policy, test);
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
