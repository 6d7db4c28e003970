// A process with one exported actor, for tests that need another process to talk to and to kill.
// Arguments: URL of the bus, name of the node. Prints the actor's incarnation once it can be reached.

import { createActorSystem } from '../../actors/runtime/actor-system.ts';
import { silentLog } from '../../protocols/ports/log.ts';
import { createNatsActorLink } from '../../transports/nats/actor-link.ts';
import { connectNats } from '../../transports/nats/nats-bus.ts';
import { systemClock } from '../../transports/process/system-clock.ts';
import { systemRandom } from '../../transports/process/system-random.ts';
import { probeBehavior, probeCodec } from './actor-runtime-probe.ts';

const [url = '', name = ''] = process.argv.slice(2);
const bus = await connectNats({ url, name, clock: systemClock, log: silentLog });
const system = createActorSystem({
  name,
  clock: systemClock,
  random: systemRandom,
  log: silentLog,
  link: createNatsActorLink({ bus, domain: 'test.domain' }),
});
await system.linked;
const probe = system.spawn(probeBehavior({ release: () => {}, late: [] }), 'probe');
system.exportActor(probe, probeCodec);
process.stdout.write(`${probe.address.incarnation}\n`);
// The parent's end closes the standard input.
process.stdin.resume();
process.stdin.on('end', () => process.exit(0));
