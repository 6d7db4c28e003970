// Asks a policy that allows everything, on and on until its standard input ends, and prints what it was refused.

import { assemblePolicy } from '../../sandbox/wasm-policy.ts';
import { operatorPolicyFrom } from '../../../transports/policy-wasm/operator-policy.ts';

const policy = operatorPolicyFrom(assemblePolicy({ answers: { 'vwire/request': true } }));
const refusals: string[] = [];
let isOver = false;
let asked = 0;

process.stdin.resume().on('end', () => {
  isOver = true;
});

function ask(): void {
  for (let time = 0; time < 100; time += 1) {
    const id = 'spiffe://home.test/a';
    const found = policy.judge({
      operation: 'Request',
      hop: 'nse',
      self: id,
      peer: id,
      time: 0,
      path: [],
    });
    asked += 1;
    if (found !== undefined) refusals.push(found.found);
  }
  if (asked === 100) process.stdout.write('judging\n');
  if (isOver) process.stdout.write(`${JSON.stringify(refusals)}\n`);
  else setImmediate(ask);
}

ask();
