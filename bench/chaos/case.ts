// What a chaos case is: what it needs on the stage, what it does to the mesh, what it puts back afterwards, and the
// bound that its rows are held to. The cases themselves are in `cases/`.

import type { OtherReleases } from './releases.ts';
import type { StageOptions } from './stage.ts';
import type { Scene } from './scene.ts';

export interface Bound {
  /** Packets that may be lost of each wire in a round. */
  readonly lost?: number;
  /** From the fault until traffic flows again, in ms; with `lost: 0` there is nothing to wait for. */
  readonly restored?: { readonly worst: number; readonly median?: number };
  /** From the fault until all is well again, in ms. */
  readonly wellAgain?: number;
  /** The client's end dies with what is damaged: the one that is made in its place has another index. */
  readonly interfaceMayBeNew?: boolean;
  /** Addresses may become others, as the Endpoint's policy says; name and MAC never. */
  readonly addressesMayChange?: boolean;
}

export interface ChaosCase {
  /** For `--case`. */
  readonly name: string;
  /** For people: the row's label. */
  readonly title: string;
  readonly stage?: Partial<StageOptions>;
  /** Which releases beside this one it needs. */
  readonly releases?: readonly (keyof OtherReleases)[];
  /** Length of the control run and of the run with the fault. */
  readonly windowMs: number;
  readonly bound: Bound;
  /** Each round has Endpoints and clients of its own, since the fault uses them up. */
  readonly isFreshEachRound?: boolean;
  /** Starts Endpoints and wires, once per case unless each round is fresh. */
  readonly setUp: (scene: Scene) => Promise<void>;
  /**
   * Does the damage; the packets of the whole window count. Resolves with the time from which `restored` counts,
   * where that is not the moment of the call.
   */
  readonly fault: (scene: Scene) => Promise<number | undefined>;
  /** Absent: every client is content and new wires can be made. */
  readonly isWellAgain?: (scene: Scene, timeoutMs: number) => Promise<void>;
  /** Makes the scene fit for the next round. */
  readonly restore?: (scene: Scene) => Promise<void>;
  /** Present where the case is part of the quick run: one of each kind, since each has a test of its own in test/e2e. */
  readonly quickWindowMs?: number;
}
