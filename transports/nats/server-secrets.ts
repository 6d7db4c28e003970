// A nats-server that proves itself with an SVID and knows its users by theirs. Its certificate, the CAs and who may do
// what lie in a folder of its own; when any of it changes the files are written anew and the server reads them again,
// without an end of a connection. Invariant: the key is readable by this user alone.

import { chmodSync, mkdirSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describeError, NsmError } from '../../protocols/errors.ts';
import type { BusDescription } from '../../protocols/messages/bus-rights.ts';
import type { Identity, IdentitySnapshot } from '../../protocols/ports/identity.ts';
import type { Log } from '../../protocols/ports/log.ts';
import { parseWorkloadId } from '../../protocols/spiffe/spiffe-id.ts';
import { tlsMaterial, toPem } from '../../protocols/spiffe/tls-material.ts';
import { natsServerConfig } from './server-config.ts';

export interface ServerSecretsOptions {
  /** Who the server is. */
  readonly identity: Identity;
  readonly description: BusDescription;
  /** Made where it is missing. */
  readonly directory: string;
  /** As in ServerConfigOptions. */
  readonly storeDir?: string;
  readonly log: Log;
}

/** The files that one or several servers read, kept up to date. */
export class ServerSecrets {
  readonly #options: ServerSecretsOptions;
  #description: BusDescription;
  readonly #unwatch: () => void;
  /** Has the servers read them again. */
  onChange: () => Promise<void> = () => Promise.resolve();

  /** Errors: UNAUTHENTICATED (no identity), INVALID_ARGUMENT (the description). */
  constructor(options: ServerSecretsOptions) {
    this.#options = options;
    this.#description = options.description;
    mkdirSync(options.directory, { recursive: true, mode: 0o700 });
    chmodSync(options.directory, 0o700);
    this.#writeAll();
    const { identity, log } = options;
    this.#unwatch = identity.watch((snapshot) => {
      if (snapshot === undefined) return;
      this.#follow().catch((error: unknown) =>
        log.error('the bus did not take its new certificate', { error: describeError(error) }),
      );
    });
  }

  get configFile(): string {
    return join(this.#options.directory, 'nats-server.conf');
  }

  /** Resolves once the servers know it. */
  async describe(description: BusDescription): Promise<void> {
    this.#description = description;
    this.#writeAll();
    await this.onChange();
  }

  close(): void {
    this.#unwatch();
  }

  async #follow(): Promise<void> {
    this.#writeAll();
    await this.onChange();
  }

  #writeAll(): void {
    const { identity, directory, storeDir } = this.#options;
    const snapshot = identity.current();
    if (snapshot === undefined) {
      throw new NsmError('UNAUTHENTICATED', 'nats-server has no identity', {
        rule: 'own-identity',
        expected: 'an X.509-SVID of the Workload API',
        found: 'none so far, or it was withdrawn',
      });
    }
    const { cert, key } = tlsMaterial(snapshot);
    const file = (name: string): string => join(directory, name);
    const files = { cert: file('cert.pem'), key: file('key.pem'), ca: file('ca.pem') };
    const config = natsServerConfig(this.#description, { files, ...(storeDir && { storeDir }) });
    replace(files.key, key);
    replace(files.cert, cert);
    replace(files.ca, authoritiesOf(snapshot, this.#description));
    replace(this.configFile, config);
  }
}

/** Of the trust domains of users and server alone: TLS takes any of them for any id. */
function authoritiesOf({ svid, bundles }: IdentitySnapshot, { users }: BusDescription): string {
  const ids = [svid.spiffeId, ...users.map(({ spiffeId }) => spiffeId)];
  const trustDomains = new Set(ids.map((id) => parseWorkloadId(id).trustDomain));
  return [...trustDomains]
    .flatMap((trustDomain) => bundles.get(trustDomain) ?? [])
    .map((der) => toPem('CERTIFICATE', der))
    .join('');
}

/** Whole or not at all. */
function replace(path: string, text: string): void {
  writeFileSync(`${path}.new`, text, { mode: 0o600 });
  renameSync(`${path}.new`, path);
}
