// Flow modifications over one session: one by one behind a barrier, or all of them as a bundle.
// A bundle is committed only after a barrier has shown that the switch took every part of it: Open vSwitch commits
// the rest of a bundle from which it refused a message.
// Invariant: whatever happens, the xids of a request are forgotten when it ends.

import type { NsmError } from '../../protocols/errors.ts';
import type { CallOutcome } from '../../protocols/stream-link/link.ts';
import type { FlowMod } from '../../protocols/ovs/flow.ts';
import { bundleFlag } from '../../protocols/ovs/openflow-constants.ts';
import { switchRefusal } from '../../protocols/ovs/openflow-errors.ts';
import type { BundleControlKind, MessageBody } from '../../protocols/ovs/openflow-messages.ts';
import type { AnswerListener, OpenFlowSession, OutgoingRequest } from './openflow-session.ts';

/** Stops listening, and takes back what is not done yet. */
export type Abandon = () => void;

function describeMod(mods: readonly FlowMod[], index: number): string {
  const mod = mods[index];
  if (mod === undefined) return 'a flow modification';
  const place = `flow modification ${index + 1} of ${mods.length}`;
  return `${place}: ${mod.command} in table ${mod.table}, priority ${mod.priority}, cookie 0x${mod.cookie.toString(16)}`;
}

/** Sends what makes up a request, together, and keeps the first refusal of any part of it. */
class Batch {
  readonly #session: OpenFlowSession;
  readonly #xids: number[] = [];
  #parts: OutgoingRequest[] = [];
  #refusal: NsmError | undefined;

  constructor(session: OpenFlowSession) {
    this.#session = session;
  }

  /** `hear` is told of answers that are no refusals. */
  add(body: MessageBody, what: () => string, hear: () => void = () => {}): void {
    const onAnswer: AnswerListener = (message) => {
      if (message.kind === 'error') this.#refusal ??= switchRefusal(message.error, what());
      if (message.kind === 'error' && !isRequestOfItsOwn(body)) return;
      hear();
    };
    this.#parts.push({ body, onAnswer });
  }

  send(): void {
    this.#xids.push(...this.#session.sendAll(this.#parts));
    this.#parts = [];
  }

  /** What was refused so far. */
  get refusal(): NsmError | undefined {
    return this.#refusal;
  }

  end(outcome: CallOutcome<void>): void {
    this.forget();
    if (this.#refusal === undefined) outcome.resolve(undefined);
    else outcome.reject(this.#refusal);
  }

  forget(): void {
    for (const xid of this.#xids) this.#session.forget(xid);
  }
}

/** What the switch answers in every case, if only with an error. */
function isRequestOfItsOwn(body: MessageBody): boolean {
  if (body.kind === 'bundleControl') return body.control === 'commitRequest';
  return body.kind === 'barrierRequest';
}

export function sendEach(
  session: OpenFlowSession,
  mods: readonly FlowMod[],
  outcome: CallOutcome<void>,
): Abandon {
  const batch = new Batch(session);
  for (const [index, mod] of mods.entries()) {
    batch.add({ kind: 'flowMod', mod }, () => describeMod(mods, index));
  }
  batch.add(
    { kind: 'barrierRequest' },
    () => 'a barrier',
    () => batch.end(outcome),
  );
  batch.send();
  return () => batch.forget();
}

const flags = bundleFlag.atomic | bundleFlag.ordered;

/** `bundleId` must not be in use on this session. */
export function sendBundle(
  session: OpenFlowSession,
  bundle: { readonly id: number; readonly mods: readonly FlowMod[] },
  outcome: CallOutcome<void>,
): Abandon {
  const { id: bundleId, mods } = bundle;
  const batch = new Batch(session);
  const control = (kind: BundleControlKind) =>
    ({ kind: 'bundleControl', bundleId, control: kind, flags }) as const;
  let isCommitted = false;
  const discard = (): void => void session.send(control('discardRequest'));
  batch.add(control('openRequest'), () => 'the opening of a bundle');
  for (const [index, mod] of mods.entries()) {
    batch.add({ kind: 'bundleAdd', bundleId, flags, mod }, () => describeMod(mods, index));
  }
  batch.add(
    { kind: 'barrierRequest' },
    () => 'a barrier',
    () => {
      if (batch.refusal !== undefined) {
        discard();
        batch.end(outcome);
        return;
      }
      isCommitted = true;
      // What only the commit finds wrong comes as an error of the part, then as one of the commit.
      const what = (): string => `the commit of ${mods.length} flow modifications`;
      batch.add(control('commitRequest'), what, () => batch.end(outcome));
      batch.send();
    },
  );
  batch.send();
  return () => {
    batch.forget();
    if (!isCommitted) discard();
  };
}
