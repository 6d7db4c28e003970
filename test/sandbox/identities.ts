// Identities for a test: a trust domain of its own on real unix sockets, in this process, and sources that follow it.

import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Identity } from '../../protocols/ports/identity.ts';
import { silentLog } from '../../protocols/ports/log.ts';
import { systemClock, systemWallClock } from '../../transports/process/system-clock.ts';
import { systemRandom } from '../../transports/process/system-random.ts';
import type { IdentityServer, IdentityServerOptions } from '../../transports/spiffe-ts/spiffe.ts';
import { createIdentityServer, createIdentitySource } from '../../transports/spiffe-ts/spiffe.ts';
import { eventually } from './eventually.ts';

const budget = { timeoutMs: 10_000 };

export class TestIdentities {
  readonly server: IdentityServer;
  readonly #folder = mkdtempSync(join(tmpdir(), 'vwire-id-'));
  readonly #sources = new Set<Identity>();

  constructor(options: Partial<IdentityServerOptions> = {}) {
    this.server = createIdentityServer({
      trustDomain: 'home.test',
      clock: systemClock,
      wallClock: systemWallClock,
      log: silentLog,
      ...options,
    });
  }

  /** The Workload API of `spiffe://<trust domain>/<name>`. */
  async socketOf(name: string): Promise<string> {
    const url = `unix://${join(this.#folder, name)}.sock`;
    await this.server.serve(url, [`spiffe://${this.server.trustDomain}/${name}`]);
    return url;
  }

  /** Follows that Workload API, and has its first SVID. */
  async source(name: string): Promise<Identity> {
    const source = await followIdentity(await this.socketOf(name));
    this.#sources.add(source);
    return source;
  }

  async close(): Promise<void> {
    await Promise.all([...this.#sources].map((source) => source.close()));
    await this.server.close();
    rmSync(this.#folder, { recursive: true, force: true });
  }
}

/** Of any Workload API, with its first SVID; to be closed. */
export async function followIdentity(endpoint: string): Promise<Identity> {
  const source = createIdentitySource({
    endpoint,
    clock: systemClock,
    wallClock: systemWallClock,
    random: systemRandom,
    log: silentLog,
  });
  await source.ready(budget);
  return source;
}

/** The next snapshot of `identity` after `act`. */
export async function renewed(identity: Identity, act: () => void): Promise<void> {
  const before = identity.current()?.generation ?? 0;
  act();
  await eventually('a newer snapshot', budget.timeoutMs, () => {
    if ((identity.current()?.generation ?? 0) <= before) throw new Error('not yet');
  });
}
