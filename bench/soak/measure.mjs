// Loaded into every process of a soak by NODE_OPTIONS, so that the product carries nothing of it: answers each
// connection to a socket in the state directory with one JSON line about the memory after a forced collection, the
// timers and the descriptors of the process. Plain JavaScript, since it is loaded into compiled and source programs.

import { readdirSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { getHeapCodeStatistics, setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { isMainThread } from 'node:worker_threads';

const { VWIRE_STATE_DIR: stateDir } = process.env;

if (isMainThread && stateDir !== undefined) {
  setFlagsFromString('--expose-gc');
  // Functions are compiled for speed a sixteenth of the way into what they usually take: that is over by the end of the
  // warm-up, and what the heap grows by from then on is data.
  setFlagsFromString('--interrupt-budget=4224');
  const collect = runInNewContext('gc');
  const server = createServer((socket) => {
    socket.on('error', () => {});
    // Twice: what finalizers let go of at first is collected at last.
    collect();
    setTimeout(() => {
      collect();
      const { heapUsed, rss } = process.memoryUsage();
      const { code_and_metadata_size: machine, bytecode_and_metadata_size: bytecode } =
        getHeapCodeStatistics();
      const code = machine + bytecode;
      const resources = process.getActiveResourcesInfo();
      const timers = resources.filter((name) => name === 'Timeout').length;
      const descriptors = readdirSync('/proc/self/fd').length;
      socket.end(`${JSON.stringify({ heapUsed, code, rss, timers, descriptors })}\n`);
    }, 50).unref();
  });
  server.on('error', () => {});
  server.listen(join(stateDir, `measure-${process.pid}.sock`));
  server.unref();
}
