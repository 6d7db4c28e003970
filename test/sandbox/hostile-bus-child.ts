// Publishes mutated calls to every component of a node and to the registry, from a process inside the node's
// namespace, and says when the bus has taken them all. Arguments: URL of the bus, domain, node, seed, count.

import { toBinary, create } from '@bufbuild/protobuf';
import { connect, headers } from '@nats-io/transport-node';
import { callHeader, encodeCall } from '../../protocols/messages/call-envelope.ts';
import { mutations, mutateText, pick, randomBytes, seeded } from '../fuzz/mutate.ts';
import { hostileMessages } from './hostile-messages.ts';

const [, , url = '', domain = '', node = '', seed = '1', count = '1000'] = process.argv;
const random = seeded(Number(seed));
const connection = await connect({ servers: url, name: 'hostile' });
const components = [
  `nsm.${domain}.${node}.nsmgr`,
  `nsm.${domain}.${node}.forwarder`,
  `nsm.${domain}.registry.registry`,
];
const line = encodeCall({
  id: 'hostile',
  instance: undefined,
  startBy: 1e12,
  deadline: 1e12,
  window: 16,
});

for (let sent = 0; sent < Number(count); sent += 1) {
  const { path, schema, init } = pick(random, hostileMessages);
  const valid = toBinary(schema, create(schema, init));
  const body = sent % 8 === 0 ? randomBytes(random, 4096) : mutations(random, valid).next().value;
  const [service = '', method = ''] = path.slice(1).split('/');
  const token = (text: string): string => text.replaceAll('.', '=2E');
  const subject =
    sent % 5 === 0
      ? `${pick(random, components)}.${pick(random, ['$call.x', 'a.b', '=2', '$actor.x'])}`
      : `${pick(random, components)}.${token(service)}.${method}`;
  const metadata = headers();
  metadata.set(callHeader, sent % 3 === 0 ? 'x' : clean(mutateText(random, line)));
  connection.publish(subject, body, { headers: metadata, reply: 'nsm.hostile.reply' });
}
await connection.flush();
await connection.close();
process.stdout.write('done\n');

/** What a header may hold at all. */
function clean(text: string): string {
  return text.replaceAll(/[^ -~]/g, '?').slice(0, 400);
}
