// A role for test/bin/phases.test.ts, run as a process of its own. The first argument chooses how it behaves; every
// log line goes to stdout as JSON.

import { runRole, type Phase } from '../../bin/phases.ts';
import type { Log } from '../../protocols/ports/log.ts';

const behaviour = process.argv[2] ?? '';

const print = (level: string) => (message: string, fields?: object) =>
  void process.stdout.write(`${JSON.stringify({ level, message, ...fields })}\n`);

const log: Log = {
  error: print('error'),
  warn: print('warn'),
  info: print('info'),
  debug: print('debug'),
  child: () => log,
};

const never = () => new Promise<never>(() => {});

const phase = (name: string, extra: Partial<Phase> = {}): Phase => ({
  name,
  check: `check ${name}`,
  start: async () => async () => {},
  ...extra,
});

const phases: readonly Phase[] = [
  phase('one'),
  phase('two', {
    start: async () => (behaviour === 'stop-hangs' ? never : async () => {}),
  }),
  phase('three', {
    timeoutMs: 200,
    start: async ({ end, signal }) => {
      if (behaviour === 'start-fails') throw new Error('no socket');
      if (behaviour === 'start-hangs') return never();
      if (behaviour === 'start-late') {
        return new Promise((resolve) => {
          signal.addEventListener('abort', () => resolve(async () => {}));
        });
      }
      if (behaviour === 'ends-itself') setImmediate(() => end());
      if (behaviour === 'fails-later') setImmediate(() => end(new Error('bus lost')));
      if (behaviour === 'crashes') {
        setImmediate(() => {
          throw new Error('bug');
        });
      }
      return undefined;
    },
  }),
];

// Keeps the process alive like a socket would.
const keepAlive = setInterval(() => {}, 1000);
process.exitCode = await runRole({
  name: 'child',
  phases,
  log,
  shutdownTimeoutMs: behaviour === 'stop-hangs' ? 60_000 : 1000,
});
clearInterval(keepAlive);
