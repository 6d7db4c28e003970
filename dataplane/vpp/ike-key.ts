// The private key by which this node proves itself in IKEv2. VPP has one for all of its tunnels and tells nobody whose it is.
// Invariants: it is given once in each life of VPP, and never where somebody else's tunnels may depend on theirs.

import type { Budget } from '../../protocols/ports/dataplane.ts';
import type { KeyFiles } from '../../protocols/ports/key-files.ts';
import type { Vpp } from '../../protocols/ports/vpp.ts';
import { encodeBase64 } from '../../protocols/spiffe/base64url.ts';
import { ikeAuthMethod } from '../../protocols/vpp/messages/crypto-messages.ts';
import type { Inventory } from './inventory.ts';
import { findProfiles } from './ipsec.ts';
import { ikeKeyTaken, unreadableKey } from './refusals.ts';
import { type Owner, parseEndTag } from './tags.ts';

export interface IkeKeySetup {
  readonly vpp: Vpp;
  readonly owner: Owner;
  readonly inventory: Inventory;
  readonly keyFiles: KeyFiles;
  /** PKCS#8 DER. */
  readonly privateKey: Uint8Array;
}

/**
 * For all of VPP, which begins anew by itself with a peer that stays silent: with its own 30 s a node whose VPP was killed
 * would be without its tunnels for two minutes.
 */
const liveness = { period: 1, max_retries: 3 } as const;

export class IkeKey {
  readonly #setup: IkeKeySetup;
  #given: { readonly life: number; readonly done: Promise<void> } | undefined;

  constructor(setup: IkeKeySetup) {
    this.#setup = setup;
  }

  /** Errors: FAILED_PRECONDITION (rule `IKEv2 key`, or `IKEv2 key file`). */
  ensure(wireId: string, budget: Budget): Promise<void> {
    const { life } = this.#setup.inventory;
    if (this.#given?.life !== life) {
      const given = { life, done: this.#give(wireId, budget) };
      this.#given = given;
      given.done.catch(() => {
        if (this.#given === given) this.#given = undefined;
      });
    }
    return this.#given.done;
  }

  async #give(wireId: string, budget: Budget): Promise<void> {
    const { vpp, owner, keyFiles, privateKey } = this.#setup;
    const holder = (await findProfiles(vpp, budget)).find(
      ({ name, auth }) =>
        auth.method === ikeAuthMethod.rsaSignature && parseEndTag(owner, name) === undefined,
    );
    if (holder !== undefined) throw ikeKeyTaken(wireId, holder.name);
    await keyFiles.during(pem('PRIVATE KEY', encodeBase64(privateKey)), async (path) => {
      try {
        await vpp.request('ikev2_set_local_key', { key_file: path }, budget);
      } catch (error) {
        throw unreadableKey(wireId, path, error);
      }
    });
    await vpp.request('ikev2_profile_set_liveness', liveness, budget);
  }
}

/** RFC 7468. */
export function pem(label: string, base64: string): string {
  const lines = base64.match(/.{1,64}/g) ?? [];
  return [`-----BEGIN ${label}-----`, ...lines, `-----END ${label}-----`, ''].join('\n');
}
