// A process that serves the contract suite's services until its input ends or it is killed; prints where it listens.
// Usage: rpc-peer.ts nats <url of nats-server> | grpc <url to listen on>

import { createGrpc } from '../../transports/grpc/grpc.ts';
import { createNatsListener } from '../../transports/nats/nats-listener.ts';
import { beatMs, clock, openBus } from './rpc-bindings.ts';
import { Probe, testServices } from './rpc-services.ts';

const [binding, url = ''] = process.argv.slice(2);
const listener =
  binding === 'nats'
    ? createNatsListener(await openBus(url, 'peer'), { beatMs })
    : createGrpc({ clock, insecure: true }).listener;
const listening = await listener.listen(
  binding === 'nats' ? 'nats://dom/node/peer' : url,
  testServices(clock, new Probe()),
);
process.stdout.write(`${listening.url}\n`);
process.stdin.on('end', () => process.exit(0)).resume();
