// Whether this kernel makes WireGuard tunnels, as the data plane finds out.

import { createKernelDataplane } from '../../dataplane/kernel/kernel.ts';
import { createNetlink } from '../../transports/netlink/netlink.ts';
import { systemClock } from '../../transports/process/system-clock.ts';
import { createSandbox, whyNoNamespaces } from './namespaces.ts';

/** Undefined where it does; else the reason why not, for a printed skip. */
export async function whyNoWireguard(): Promise<string | undefined> {
  const whyNothing = whyNoNamespaces();
  if (whyNothing !== undefined) return whyNothing;
  const sandbox = createSandbox();
  const netlink = createNetlink({ namespace: sandbox.namespace().url });
  const dataplane = createKernelDataplane({
    netlink,
    clock: systemClock,
    installation: 'probe',
    forwarder: 'probe',
    secrets: { wireguardPrivateKey: () => new Uint8Array(32) },
  });
  try {
    const { mechanisms, missing } = await dataplane.probe({ timeoutMs: 60_000 });
    if (mechanisms.includes('WIREGUARD')) return undefined;
    return missing.find((line) => line.startsWith('WIREGUARD')) ?? 'no such mechanism';
  } finally {
    await dataplane.close();
    await netlink.close();
    await sandbox.close();
  }
}
