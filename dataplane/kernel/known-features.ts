// What the driver knows of this kernel, found out once by trying, and what follows from it for a wire: how its ends are
// joined, and whether by packets instead of frames.
// Invariant: what could not be found out is tried again by whoever asks next.

import type { Budget, DataplaneCapabilities, Wire } from '../../protocols/ports/dataplane.ts';
import type { Netlink } from '../../protocols/ports/netlink.ts';
import { bridgeCrossConnect, type CrossConnect, redirectCrossConnect } from './cross-connect.ts';
import { capabilitiesOf } from './missing-features.ts';
import type { OwnerMarks } from './owner.ts';
import { type KernelFeatures, noWayToJoin, probeEnds, probeFeatures } from './probe.ts';
import type { WireguardUse } from './wire-plan.ts';

export interface FeaturesSetup {
  readonly netlink: Netlink;
  readonly marks: OwnerMarks;
  /** As of the driver's options. */
  readonly crossConnect?: CrossConnect['kind'];
  readonly isJoinedOutside?: boolean;
  readonly secrets?: WireguardUse['secrets'];
}

export class KnownFeatures {
  readonly #setup: FeaturesSetup;
  #features: Promise<KernelFeatures> | undefined;
  #wireguardFamily: number | undefined;

  constructor(setup: FeaturesSetup) {
    this.#setup = setup;
  }

  /** Errors: PERMISSION_DENIED, those of the port. */
  get(budget: Budget): Promise<KernelFeatures> {
    if (this.#features !== undefined) return this.#features;
    const probing = this.#probed(budget);
    this.#features = probing;
    probing.catch(() => {
      if (this.#features === probing) this.#features = undefined;
    });
    return probing;
  }

  /** Tries anew. */
  async probe(budget: Budget): Promise<DataplaneCapabilities> {
    this.#features = undefined;
    return this.capabilities(await this.get(budget));
  }

  capabilities(features: KernelFeatures): DataplaneCapabilities {
    const { secrets, crossConnect } = this.#setup;
    const hasSecrets = secrets !== undefined;
    return capabilitiesOf(features, { hasSecrets, prefersBridge: crossConnect === 'bridge' });
  }

  /** Undefined also as long as nobody has asked for the features. */
  get wireguardFamily(): number | undefined {
    return this.#wireguardFamily;
  }

  wireguard(): WireguardUse | undefined {
    const [{ secrets }, family] = [this.#setup, this.#wireguardFamily];
    return family === undefined || secrets === undefined ? undefined : { family, secrets };
  }

  /** As `Joining.isRouted`; undefined where no wire of this driver ever is. */
  isRouted({ client, endpoint }: Wire): boolean | undefined {
    if (this.wireguard() === undefined) return undefined;
    return [client, endpoint].some(({ kind }) => kind === 'wireguard');
  }

  /** Errors: UNIMPLEMENTED. */
  crossConnect(features: KernelFeatures): CrossConnect {
    const wanted = this.#setup.crossConnect ?? (features.redirect ? 'redirect' : 'bridge');
    if (!features[wanted]) throw noWayToJoin();
    return wanted === 'redirect' ? redirectCrossConnect : bridgeCrossConnect;
  }

  async #probed(budget: Budget): Promise<KernelFeatures> {
    const { netlink, marks, isJoinedOutside } = this.#setup;
    const features =
      isJoinedOutside === true
        ? await probeEnds(netlink, budget)
        : await probeFeatures(netlink, marks, budget);
    this.#wireguardFamily = features.wireguardFamily;
    return features;
  }
}
