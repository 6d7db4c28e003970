// The parts of a mesh as real roles in this process, each with an identity and a platform of its own, over mutual TLS on
// unix sockets, or over a bus, and a simulated kernel: what the rules see is what they see in processes of their own.

import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { composeForwarder } from '../../bin/roles/compose-forwarder.ts';
import { composeNse } from '../../bin/roles/compose-nse.ts';
import { composeNsmgr } from '../../bin/roles/compose-nsmgr.ts';
import { composeRegistry } from '../../bin/roles/compose-registry.ts';
import { createPlatform, type Platform } from '../../bin/roles/platform.ts';
import {
  createSimulatedDataplane,
  simulatedCapabilities,
} from '../../dataplane/simulated/simulated.ts';
import { SimulatedWorld } from '../../dataplane/simulated/simulated-world.ts';
import { describeError } from '../../protocols/errors.ts';
import { requirePrefix } from '../../protocols/ipam/address.ts';
import type { AuditRecord } from '../../protocols/ports/audit.ts';
import type { Identity } from '../../protocols/ports/identity.ts';
import type { Log } from '../../protocols/ports/log.ts';
import type { TunnelKeys } from '../../protocols/ports/tunnel-keys.ts';
import { createMemoryRegistryStore } from '../../transports/memory/registry-store.ts';
import { systemClock } from '../../transports/process/system-clock.ts';
import { Caller } from './callers.ts';
import { TestIdentities } from './identities.ts';
import { type SecuredBus, startSecuredBus } from './secured-bus.ts';

export const idOf = (name: string): string => `spiffe://home.test/${name}`;

const lifetimeMs = 60_000;
const stopMs = 2_000;

export class ProvenMesh {
  readonly world = new SimulatedWorld();
  /** All that was logged by any part, unredacted. */
  readonly logged: string[] = [];
  readonly #folder = mkdtempSync(join(tmpdir(), 'vwire-proven-'));
  readonly identities: TestIdentities;
  /** Where the parts meet, if not on unix sockets. */
  readonly bus: SecuredBus | undefined;
  #policyWasm: string | undefined;
  readonly #cleanUps: (() => Promise<unknown>)[] = [];

  /** `bus`: where the parts meet, of those identities; by default on unix sockets. */
  constructor(meeting?: { readonly bus: SecuredBus; readonly identities: TestIdentities }) {
    this.identities = meeting?.identities ?? new TestIdentities();
    this.bus = meeting?.bus;
  }

  urlOf(name: string): string {
    return this.bus === undefined
      ? `unix://${join(this.#folder, name)}.sock`
      : `nats://mesh/node/${name}`;
  }

  /** Writes the access policy that all parts follow; there is none at first. */
  writePolicy(text: string): void {
    writeFileSync(this.#policyFile, text);
  }

  /** All lines of the audit log so far. */
  audited(): readonly AuditRecord[] {
    let text = '';
    try {
      text = readFileSync(this.#auditLog, 'utf8');
    } catch {
      return [];
    }
    return text
      .split('\n')
      .filter((line) => line !== '')
      .map((line) => JSON.parse(line) as AuditRecord);
  }

  denials(): readonly AuditRecord[] {
    return this.audited().filter(({ decision }) => decision === 'denied');
  }

  async platformOf(name: string): Promise<Platform> {
    const platform = await createPlatform({
      name,
      log: this.#log(),
      natsUrl: this.bus?.server.url,
      natsId: this.bus?.serverId,
      insecure: false,
      workloadApi: await this.identities.socketOf(name),
      maxTokenLifetimeMs: lifetimeMs,
      authorization: {
        policyFile: this.#policyFile,
        policyWasm: this.#policyWasm,
        auditLog: this.#auditLog,
        operators: [],
      },
    });
    this.atEnd(() => platform.stop(stopMs));
    return platform;
  }

  async registry(): Promise<string> {
    const role = await composeRegistry(await this.platformOf('registry'), {
      name: 'registry',
      listenOn: [this.urlOf('registry')],
      store: createMemoryRegistryStore(),
    });
    this.atEnd(() => role.stop(stopMs));
    return this.urlOf('registry');
  }

  /** With a registry behind it. */
  async manager(): Promise<string> {
    const registryUrl = await this.registry();
    const role = await composeNsmgr(await this.platformOf('nsmgr'), {
      name: 'nsmgr',
      listenOn: [this.urlOf('nsmgr')],
      registryUrl,
      forwarderServiceName: 'forwarder',
      maxTokenLifetimeMs: lifetimeMs,
      nodeLabels: {},
      excludedPrefixes: () => [],
    });
    this.atEnd(() => role.stop(stopMs));
    return this.urlOf('nsmgr');
  }

  /** With `tunnelKeys` it makes WireGuard tunnels too. */
  async forwarder(connectTo: string, tunnelKeys?: TunnelKeys): Promise<void> {
    const mechanisms = ['KERNEL', 'VXLAN', ...(tunnelKeys === undefined ? [] : ['WIREGUARD'])];
    const platform = await this.platformOf('forwarder');
    const role = await composeForwarder(platform, {
      name: 'forwarder',
      domain: 'mesh',
      node: 'node',
      networkServiceName: 'forwarder',
      labels: { p2p: 'true' },
      connectTo,
      listenOn: this.urlOf('forwarder'),
      maxTokenLifetimeMs: lifetimeMs,
      tunnelIp: '10.0.0.1',
      vxlanPort: 0,
      underlayMtu: 1500,
      capabilities: simulatedCapabilities(mechanisms),
      tunnelKeys,
      dataplane: createSimulatedDataplane({
        world: this.world,
        clock: systemClock,
        installation: 'mesh',
        forwarder: 'forwarder',
        mechanisms,
      }),
    });
    this.atEnd(() => role.stop(stopMs));
  }

  async endpoint(connectTo: string): Promise<string> {
    const role = await composeNse(await this.platformOf('nse'), {
      name: 'nse',
      connectTo,
      listenOn: this.urlOf('nse'),
      serviceNames: ['service'],
      payload: 'IP',
      labels: {},
      cidrPrefixes: [[requirePrefix('172.16.0.0/24', 'test')]],
      registerService: true,
      maxTokenLifetimeMs: lifetimeMs,
      netns: 'inode://4/2',
    });
    this.atEnd(() => role.stop(stopMs));
    return this.urlOf('nse');
  }

  async caller(name: string): Promise<Caller> {
    return this.callerAs(await this.identities.source(name));
  }

  async callerAs(identity: Identity): Promise<Caller> {
    const made = await Caller.of(identity, this.bus);
    this.atEnd(() => made.end());
    return made;
  }

  /** Run before what is there already has ended. */
  atEnd(cleanUp: () => Promise<unknown>): void {
    this.#cleanUps.push(cleanUp);
  }

  /** Returns all that was logged and audited. */
  async end(): Promise<readonly string[]> {
    for (const cleanUp of this.#cleanUps.splice(0).reverse()) await cleanUp();
    await this.identities.close();
    const all = [...this.logged, JSON.stringify(this.audited())];
    rmSync(this.#folder, { recursive: true, force: true });
    return all;
  }

  /** Writes the operator's policy in WebAssembly, for the parts that start from now on, or removes it. */
  writeOperatorPolicy(bytes: Uint8Array | undefined): void {
    this.#policyWasm = join(this.#folder, 'policy.wasm');
    if (bytes === undefined) rmSync(this.#policyWasm);
    else writeFileSync(this.#policyWasm, bytes);
  }

  get #policyFile(): string {
    return join(this.#folder, 'policy.yaml');
  }

  get #auditLog(): string {
    return join(this.#folder, 'audit.log');
  }

  #log(): Log {
    const write = (message: string, fields?: object): void => {
      const plain = (_: string, value: unknown): unknown =>
        value instanceof Error
          ? describeError(value)
          : typeof value === 'bigint'
            ? String(value)
            : value;
      this.logged.push(`${message} ${JSON.stringify(fields ?? {}, plain)}`);
    };
    const log: Log = { error: write, warn: write, info: write, debug: write, child: () => log };
    return log;
  }
}

/** On a bus of its own, with the rights of its parts and some callers more. */
export async function openOnBus(): Promise<ProvenMesh> {
  const identities = new TestIdentities();
  const node = 'node';
  const bus = await startSecuredBus(identities, 'mesh', [
    { spiffeId: idOf('registry'), roles: ['registry', 'endpoint'], node, component: 'registry' },
    { spiffeId: idOf('nsmgr'), roles: ['nsmgr'], node },
    { spiffeId: idOf('forwarder'), roles: ['forwarder'], node },
    // Some tests let it register at the registry itself.
    { spiffeId: idOf('nse'), roles: ['forwarder'], node, component: 'nse' },
    // Hears what the Endpoint hears, as a nats-server that is not to be trusted would.
    { spiffeId: idOf('tap'), roles: ['endpoint'], node, component: 'nse' },
    // Callers that may call everybody: what refuses them is the rules.
    ...['nsc', 'honest', 'thief', 'owner', 'fwd-1', 'fwd-2', 'nse-1', 'nse-2'].map((name) => ({
      spiffeId: idOf(name),
      roles: ['nsmgr', 'forwarder'] as const,
      node,
      component: name,
    })),
  ]);
  const mesh = new ProvenMesh({ bus, identities });
  mesh.atEnd(() => bus.close());
  return mesh;
}

/** A JWT, or what begins one; a private key. */
export const secretShape = /eyJ[\w-]{8,}|PRIVATE KEY/;
