// A process that serves the contract suite's services until its input ends or it is killed; prints where it listens.
// Usage: rpc-peer.ts nats <url of nats-server> | grpc <url to listen on>, [<URL of the Workload API>]

import { createGrpc } from '../../transports/grpc/grpc.ts';
import { silentLog } from '../../protocols/ports/log.ts';
import { BusSeals } from '../../transports/nats/bus-seals.ts';
import { createNatsListener } from '../../transports/nats/nats-listener.ts';
import { systemWallClock } from '../../transports/process/system-clock.ts';
import { followIdentity } from '../sandbox/identities.ts';
import { beatMs, clock, openBus } from './rpc-bindings.ts';
import { Probe, testServices } from './rpc-services.ts';

const [binding, url = '', workloadApi] = process.argv.slice(2);
const listener =
  binding === 'nats'
    ? createNatsListener(await openBus(url, 'peer'), { beatMs, ...(await seals()) })
    : createGrpc({ clock, ...(await security()) }).listener;
const listening = await listener.listen(
  binding === 'nats' ? 'nats://dom/node/peer' : url,
  testServices(clock, new Probe()),
);
process.stdout.write(`${listening.url}\n`);
process.stdin.on('end', () => process.exit(0)).resume();

async function seals() {
  if (workloadApi === undefined) return {};
  const identity = await followIdentity(workloadApi);
  return { seals: new BusSeals({ identity, wallClock: systemWallClock, log: silentLog }) };
}

async function security() {
  if (workloadApi === undefined) return { insecure: true };
  return { tls: { identity: await followIdentity(workloadApi), wallClock: systemWallClock } };
}
