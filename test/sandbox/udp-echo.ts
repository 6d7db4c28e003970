// Datagrams from a chosen source address between namespaces, to see which way they take.

import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { addAddress } from '../../protocols/netlink/address.ts';
import { parsePrefix } from '../../protocols/netlink/ip-address.ts';
import { getLinkByName } from '../../protocols/netlink/link.ts';
import type { Netlink } from '../../protocols/ports/netlink.ts';
import type { NetworkNamespace } from '../../transports/netlink/network-namespace.ts';
import { spawnInNamespace } from '../../transports/netlink/spawn-in-namespace.ts';

const echoPort = 7777;

export interface UdpEcho {
  stop(): Promise<void>;
}

/** Answers datagrams to this address of the namespace. */
export async function startUdpEcho(namespace: NetworkNamespace, address: string): Promise<UdpEcho> {
  const child = spawnChild(namespace, ['echo', address, String(echoPort)]);
  const exited = once(child, 'exit');
  if (child.stdout !== null) await once(child.stdout, 'data');
  return {
    async stop() {
      child.stdin?.end();
      await exited;
    },
  };
}

/** Gives the loopback of the namespace an address. */
export async function addLoopbackAddress(
  netlink: Netlink,
  namespace: NetworkNamespace,
  address: string,
): Promise<void> {
  const requests = [
    {
      message: getLinkByName('lo'),
      what: 'find lo',
      store: { register: 'lo', offset: 4 },
    },
    {
      message: addAddress({ register: 'lo' }, parsePrefix(address)),
      what: `add ${address} to lo`,
    },
  ];
  const program = [{ namespace: namespace.url, protocol: 'route', requests }] as const;
  const outcome = await netlink.execute(program, { timeoutMs: 10_000 });
  if (!outcome.ok) throw new Error(outcome.failure.found);
}

/** `hello` where the echo answered; else the code of the error, or `no answer`. */
export async function askUdpEcho(
  namespace: NetworkNamespace,
  from: string,
  to: string,
): Promise<string> {
  const child = spawnChild(namespace, ['ask', from, to, String(echoPort)]);
  let text = '';
  child.stdout?.on('data', (chunk) => (text += String(chunk)));
  await once(child, 'close');
  return text.trim();
}

function spawnChild(namespace: NetworkNamespace, args: readonly string[]): ChildProcess {
  const script = fileURLToPath(new URL('udp-echo-child.ts', import.meta.url));
  return spawnInNamespace(namespace.url, [process.execPath, '--import', 'tsx', script, ...args], {
    stdio: ['pipe', 'pipe', 'inherit'],
  });
}
