// Runs one program of netlink requests to its end or its first failure, then undoes (in the worker).
// Invariants: requests run one after the other, so a request never acts on what a failed one before it should
// have made; sockets and descriptors of other namespaces are closed before the program's outcome leaves.

import { closeSync } from 'node:fs';

import type { NsmError } from '../../protocols/errors.ts';
import { asNsmError } from '../../protocols/errors.ts';
import type { EncodedMessage, NetlinkReference } from '../../protocols/netlink/codec.ts';
import { isLittleEndian, parseAttributes, readU32, viewOf } from '../../protocols/netlink/codec.ts';
import {
  netlinkGeneric,
  netlinkNetfilter,
  netlinkRoute,
} from '../../protocols/netlink/constants.ts';
import { errno, errnoCode, errnoName } from '../../protocols/netlink/errno.ts';
import { beginBatch, endBatch } from '../../protocols/netlink/nftables.ts';
import type {
  NetlinkAnswer,
  NetlinkFailure,
  NetlinkOutcome,
  NetlinkRequest,
  NetlinkStep,
} from '../../protocols/ports/netlink.ts';
import { libc, privilegeRemedy } from './libc.ts';
import { loadProgram } from './load-program.ts';
import { inNamespace } from './namespace-switch.ts';
import { openNamespace } from './namespace-url.ts';
import type { Exchange } from './netlink-socket.ts';
import { exchange, isPermission, openNetlinkSocket, portOf, transact } from './netlink-socket.ts';

/** What programs share: the sockets in the node's own namespace, opened at first use. */
export interface NodeSockets {
  socketFor(protocol: NetlinkStep['protocol']): number;
  close(): void;
}

export function createNodeSockets(
  namespaceUrl: string | undefined,
  tellPort: (protocol: NetlinkStep['protocol'], port: number) => void,
): NodeSockets {
  const sockets = new Map<string, number>();
  return {
    socketFor(protocol) {
      const known = sockets.get(protocol);
      if (known !== undefined) return known;
      const socket = openIn(namespaceUrl, () => openNetlinkSocket(protocolNumbers[protocol]));
      sockets.set(protocol, socket);
      tellPort(protocol, portOf(socket));
      return socket;
    },
    close() {
      for (const socket of sockets.values()) libc.close(socket);
      sockets.clear();
    },
  };
}

/** Runs `open` in the namespace of the URL, or right here without one. */
export function openIn(namespaceUrl: string | undefined, open: () => number): number {
  if (namespaceUrl === undefined) return open();
  const descriptor = openNamespace(namespaceUrl);
  try {
    return inNamespace(descriptor, open);
  } finally {
    closeSync(descriptor);
  }
}

const protocolNumbers: Readonly<Record<NetlinkStep['protocol'], number>> = {
  route: netlinkRoute,
  netfilter: netlinkNetfilter,
  generic: netlinkGeneric,
};

/** A failure on its way out of the nested calls. */
class Stop {
  readonly failure: Omit<NetlinkFailure, 'undoFailures'>;
  constructor(failure: Omit<NetlinkFailure, 'undoFailures'>) {
    this.failure = failure;
  }
}

interface Undo {
  readonly step: NetlinkStep;
  readonly what: string;
  readonly messages: readonly EncodedMessage[];
}

interface Run {
  readonly node: NodeSockets;
  readonly registers: Map<string, number>;
  readonly descriptors: Map<string, number>;
  /** Of eBPF programs, by their instructions. */
  readonly programs: Map<Uint8Array, number>;
  readonly sockets: Map<string, number>;
  readonly undos: Undo[];
}

export function runProgram(program: readonly NetlinkStep[], node: NodeSockets): NetlinkOutcome {
  const run: Run = {
    node,
    registers: new Map(),
    descriptors: new Map(),
    programs: new Map(),
    sockets: new Map(),
    undos: [],
  };
  try {
    return { ok: true, answers: program.map((step, index) => runStep(run, step, index)) };
  } catch (thrown) {
    if (!(thrown instanceof Stop)) throw thrown;
    return { ok: false, failure: { ...thrown.failure, undoFailures: undoAll(run) } };
  } finally {
    for (const socket of run.sockets.values()) libc.close(socket);
    for (const program of run.programs.values()) libc.close(program);
    for (const descriptor of run.descriptors.values()) closeSync(descriptor);
  }
}

function runStep(run: Run, step: NetlinkStep, index: number): NetlinkAnswer[] {
  let socket: number;
  try {
    socket = socketOf(run, step);
  } catch (thrown) {
    throw stopFor(asNsmError(thrown), index, -1, `enter ${step.namespace ?? 'the node namespace'}`);
  }
  if (step.protocol === 'netfilter' && step.requests.some(({ message }) => isChange(message))) {
    return runTransaction(run, step, { index, socket });
  }
  return step.requests.map((request, position) => {
    const at = { index, position };
    const answer = attempt(run, request, at, (bytes) => exchangeAsExpected(socket, bytes, request));
    return settle(run, step, request, { ...at, answer });
  });
}

/** Between two looks at something that is about to change. */
const lookAgainAfterMs = 0.2;
const sleepCell = new Int32Array(new SharedArrayBuffer(4));

/** The answer, or an error in its place where it is not the expected one (in time). */
function exchangeAsExpected(socket: number, bytes: Uint8Array, request: NetlinkRequest): Exchange {
  const { expect } = request;
  if (expect === undefined) return exchange(socket, bytes);
  const endMs = performance.now() + (expect.withinMs ?? 0);
  for (;;) {
    const answer = exchange(socket, bytes);
    if (answer.errno !== 0) return answer;
    const payload = answer.messages[0]?.payload ?? new Uint8Array();
    const value = parseAttributes(payload, expect.headerLengthBytes).get(expect.attribute);
    const found = value?.length === 1 ? value[0] : readU32(value);
    if (found === expect.value) return answer;
    if (performance.now() >= endMs) {
      const number = expect.withinMs === undefined ? errno.noDevice : errno.timedOut;
      return { errno: number, words: `found ${found} instead of ${expect.value}`, messages: [] };
    }
    Atomics.wait(sleepCell, 0, 0, lookAgainAfterMs);
  }
}

/** Only messages that ask for an acknowledgement change something. */
function isChange(message: EncodedMessage): boolean {
  return (viewOf(message.bytes).getUint16(6, isLittleEndian) & 0x4) !== 0;
}

function runTransaction(
  run: Run,
  step: NetlinkStep,
  at: { readonly index: number; readonly socket: number },
): NetlinkAnswer[] {
  const messages = [
    beginBatch().bytes,
    ...step.requests.map(({ message }) => filled(run, message)),
    endBatch().bytes,
  ];
  const first = step.requests[0] as NetlinkRequest;
  const answers = attempt(run, first, { index: at.index, position: 0 }, () =>
    transact(at.socket, messages),
  );
  // The first refusal rolls the whole transaction back, so nothing of it is remembered for undoing before.
  const inner = answers.slice(1, -1);
  const mark = answers[0]?.errno ? answers[0] : answers.at(-1);
  const refused = inner.findIndex(
    ({ errno: number }, position) =>
      number !== 0 && !(step.requests[position]?.tolerate?.includes(number) ?? false),
  );
  if (refused >= 0 || (mark?.errno ?? 0) !== 0) {
    const position = Math.max(0, refused);
    const answer = (refused >= 0 ? inner[position] : mark) as Exchange;
    throw refusal(step.requests[position] as NetlinkRequest, { index: at.index, position, answer });
  }
  return step.requests.map((request, position) =>
    settle(run, step, request, {
      index: at.index,
      position,
      answer: inner[position] as Exchange,
    }),
  );
}

interface Position {
  readonly index: number;
  readonly position: number;
}

function attempt<Result>(
  run: Run,
  request: NetlinkRequest,
  at: Position,
  send: (bytes: Uint8Array) => Result,
): Result {
  try {
    return send(filled(run, request.message));
  } catch (thrown) {
    throw stopFor(asNsmError(thrown), at.index, at.position, request.what);
  }
}

function settle(
  run: Run,
  step: NetlinkStep,
  request: NetlinkRequest,
  at: Position & { readonly answer: Exchange },
): NetlinkAnswer {
  const { errno: number, messages } = at.answer;
  if (number !== 0) {
    if (!(request.tolerate?.includes(number) ?? false)) throw refusal(request, at);
    return { errno: number, messages: [] };
  }
  if (request.undo !== undefined) {
    run.undos.push({ step, what: request.what, messages: request.undo });
  }
  if (request.store !== undefined) {
    const value = readU32(messages[0]?.payload, request.store.offset);
    if (value !== undefined) run.registers.set(request.store.register, value);
  }
  return { errno: 0, messages };
}

function refusal(request: NetlinkRequest, at: Position & { readonly answer: Exchange }): Stop {
  const { errno: number, words } = at.answer;
  return new Stop({
    step: at.index,
    request: at.position,
    code: errnoCode(number),
    errno: number,
    what: request.what,
    found: words === '' ? errnoName(number) : `${errnoName(number)}: ${words}`,
    ...(isPermission(number) ? { remedy: privilegeRemedy } : {}),
  });
}

function stopFor(error: NsmError, step: number, request: number, what: string): Stop {
  return new Stop({
    step,
    request,
    code: error.code,
    errno: 0,
    what,
    found: error.details.found ?? error.message,
    ...(error.details.remedy === undefined ? {} : { remedy: error.details.remedy }),
  });
}

/** Newest first; one that fails does not keep the others from running. */
function undoAll(run: Run): string[] {
  const failures: string[] = [];
  for (const { step, what, messages } of run.undos.reverse()) {
    try {
      const socket = socketOf(run, step);
      const packets = messages.map((message) => filled(run, message));
      const answers =
        step.protocol === 'netfilter'
          ? transact(socket, [beginBatch().bytes, ...packets, endBatch().bytes])
          : packets.map((bytes) => exchange(socket, bytes));
      for (const { errno: number } of answers) {
        if (number !== 0) failures.push(`undo of ${what}: ${errnoName(number)}`);
      }
    } catch (thrown) {
      failures.push(
        `undo of ${what}: ${asNsmError(thrown instanceof Stop ? thrown.failure.found : thrown).message}`,
      );
    }
  }
  return failures;
}

function socketOf(run: Run, step: NetlinkStep): number {
  if (step.namespace === undefined) return run.node.socketFor(step.protocol);
  const key = `${step.protocol} ${step.namespace}`;
  const known = run.sockets.get(key);
  if (known !== undefined) return known;
  const socket = inNamespace(descriptorOf(run, step.namespace), () =>
    openNetlinkSocket(protocolNumbers[step.protocol]),
  );
  run.sockets.set(key, socket);
  return socket;
}

function descriptorOf(run: Run, url: string): number {
  const known = run.descriptors.get(url);
  if (known !== undefined) return known;
  const descriptor = openNamespace(url);
  run.descriptors.set(url, descriptor);
  return descriptor;
}

function programOf(run: Run, instructions: Uint8Array): number {
  const descriptor = run.programs.get(instructions) ?? loadProgram(instructions);
  run.programs.set(instructions, descriptor);
  return descriptor;
}

/** The message's bytes with its references resolved; the original stays as it is. */
function filled(run: Run, message: EncodedMessage): Uint8Array {
  const bytes = message.bytes.slice();
  for (const { offset, reference } of message.holes) {
    viewOf(bytes).setUint32(offset, resolve(run, reference), isLittleEndian);
  }
  return bytes;
}

function resolve(run: Run, reference: NetlinkReference): number {
  if ('namespaceDescriptor' in reference) return descriptorOf(run, reference.namespaceDescriptor);
  if ('program' in reference) return programOf(run, reference.program);
  const value = run.registers.get(reference.register);
  if (value === undefined) throw new Error(`no request stored ${reference.register}`);
  return value;
}
