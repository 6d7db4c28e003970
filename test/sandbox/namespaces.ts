// Real network namespaces for tests: made without a child process, joined by underlay links, with processes
// spawned inside, and a check that nothing of it is left.
// Invariant: everything made through one sandbox is gone when it is closed; nothing is made outside of it.

import type { ChildProcess, SpawnOptions } from 'node:child_process';
import { readdirSync, readlinkSync } from 'node:fs';

import { addAddress } from '../../protocols/netlink/address.ts';
import { parsePrefix } from '../../protocols/netlink/ip-address.ts';
import { changeLink, createVeth, getLinkByName } from '../../protocols/netlink/link.ts';
import type { NetlinkRequest } from '../../protocols/ports/netlink.ts';
import { createNetlink } from '../../transports/netlink/netlink.ts';
import type { NetworkNamespace } from '../../transports/netlink/network-namespace.ts';
import { createNetworkNamespace } from '../../transports/netlink/network-namespace.ts';
import { spawnInNamespace } from '../../transports/netlink/spawn-in-namespace.ts';

export interface CommandResult {
  readonly exitCode: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

export interface Sandbox {
  namespace(): NetworkNamespace;
  /** A veth named `underlay` in both, with the addresses (CIDR) given. */
  underlay(ends: readonly [UnderlayEnd, UnderlayEnd]): Promise<void>;
  /** Runs requests in a namespace and fails the test where the kernel refuses. */
  program(namespace: NetworkNamespace, requests: readonly NetlinkRequest[]): Promise<void>;
  spawn(
    namespace: NetworkNamespace,
    command: readonly [string, ...string[]],
    options?: SpawnOptions,
  ): ChildProcess;
  /** Runs a command to its end. */
  run(namespace: NetworkNamespace, command: readonly [string, ...string[]]): Promise<CommandResult>;
  /** Ends processes that are still there and lets go of every namespace. */
  close(): Promise<void>;
}

export interface UnderlayEnd {
  readonly namespace: NetworkNamespace;
  readonly addresses: readonly string[];
}

/** Undefined where namespaces can be made; else the reason why not, for a printed skip. */
export function whyNoNamespaces(): string | undefined {
  try {
    createNetworkNamespace().close();
    return undefined;
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
}

export function createSandbox(): Sandbox {
  const namespaces: NetworkNamespace[] = [];
  const children = new Set<ChildProcess>();
  const netlink = createNetlink();
  const budget = { timeoutMs: 10_000 };

  const program: Sandbox['program'] = async (namespace, requests) => {
    const step = { namespace: namespace.url, protocol: 'route', requests } as const;
    const outcome = await netlink.execute([step], budget);
    if (!outcome.ok) throw new Error(`${outcome.failure.what}: ${outcome.failure.found}`);
  };

  const spawn: Sandbox['spawn'] = (namespace, command, options = {}) => {
    const child = spawnInNamespace(namespace.url, command, options);
    children.add(child);
    child.once('exit', () => children.delete(child));
    return child;
  };

  return {
    namespace() {
      const namespace = createNetworkNamespace();
      namespaces.push(namespace);
      return namespace;
    },

    async underlay([first, second]) {
      const name = 'underlay';
      const namespaceDescriptor = { namespaceDescriptor: second.namespace.url };
      await program(first.namespace, [
        {
          message: createVeth({ name, group: 0, mtu: 1500, peer: { name, namespaceDescriptor } }),
          what: 'create the underlay',
        },
      ]);
      for (const { namespace, addresses } of [first, second]) {
        await program(namespace, addressRequests(name, addresses));
      }
    },

    program,
    spawn,

    run(namespace, command) {
      return new Promise((resolve, reject) => {
        const child = spawn(namespace, command, { stdio: ['ignore', 'pipe', 'pipe'] });
        let stdout = '';
        let stderr = '';
        child.stdout?.on('data', (chunk) => {
          stdout += String(chunk);
        });
        child.stderr?.on('data', (chunk) => {
          stderr += String(chunk);
        });
        child.once('error', reject);
        child.once('close', (exitCode) => resolve({ exitCode, stdout, stderr }));
      });
    },

    async close() {
      const exits = [...children].map(
        (child) => new Promise<void>((resolve) => child.once('exit', () => resolve())),
      );
      for (const child of children) child.kill('SIGKILL');
      await Promise.all(exits);
      for (const namespace of namespaces) namespace.close();
      await netlink.close();
    },
  };
}

function addressRequests(name: string, addresses: readonly string[]): NetlinkRequest[] {
  const index = { register: 'link' };
  return [
    {
      message: getLinkByName(name),
      what: `find ${name}`,
      store: { register: 'link', offset: 4 },
    },
    { message: changeLink({ index, isUp: true }), what: `set ${name} up` },
    ...addresses.map((address) => ({
      message: addAddress(index, parsePrefix(address)),
      what: `add ${address} to ${name}`,
    })),
  ];
}

/** Network namespaces that this process holds open, by descriptor: part of a leak check. */
export function heldNamespaces(): string[] {
  return readdirSync('/proc/self/fd').flatMap((descriptor) => {
    try {
      const target = readlinkSync(`/proc/self/fd/${descriptor}`);
      return target.startsWith('net:[') ? [target] : [];
    } catch {
      return [];
    }
  });
}
