// One policy in WebAssembly, by the runtime of OPA's own npm package. What that finds out only while it judges, or writes to
// the console, is looked at first: the exports, the built-in functions that a policy wants of its host, its memory.
// Invariants: an evaluation ends, and holds no more than its memory; after one that failed the instance is a new one.

import { NsmError } from '../../protocols/errors.ts';
import { boundedCall, isInterrupted } from './bounded-call.ts';
import {
  compileModule,
  exportsOf,
  loadPolicySync,
  type OpaPolicy,
  type WasmModule,
} from './opa-runtime.ts';
import { messageOf, notAPolicy, type PolicyBytes } from './policy-bytes.ts';

/** 16 MiB of 64 KiB; a small policy needs two pages. */
export const memoryPages = 256;
/** Beyond any policy that is worth it; a call is held up for so long at most. */
export const evaluationMs = 200;
/** Of an input document, as JSON. What it becomes in the memory of the policy is several times as much. */
export const inputBytesMax = 256 * 1024;
/** What the runtime has of the functions that OPA leaves to the host, and we let it have: they read their arguments alone. */
const offeredFunctions: readonly string[] = ['json.is_valid', 'regex.split', 'sprintf'];

const exportsNeeded = [
  'opa_wasm_abi_version',
  'opa_wasm_abi_minor_version',
  'builtins',
  'entrypoints',
  'opa_eval',
  'opa_malloc',
  'opa_json_parse',
  'opa_json_dump',
  'opa_heap_ptr_get',
  'opa_heap_ptr_set',
] as const;

export class PolicyModule {
  readonly entrypoints: readonly string[];
  readonly #module: WasmModule;
  readonly #data: object;
  #loaded: OpaPolicy | undefined;

  /** Errors: INVALID_ARGUMENT, which says what is wrong with it. */
  constructor({ module, data }: PolicyBytes) {
    this.#module = compiled(module);
    this.#data = data;
    requireExports(this.#module);
    try {
      const loaded = this.#load();
      requireAbi(loaded);
      requireFunctions(boundedCall(() => wantedFunctions(loaded), loadMs));
      this.entrypoints = Object.keys(loaded.entrypoints);
      this.#loaded = loaded;
    } catch (thrown) {
      throw thrown instanceof NsmError ? thrown : notLoaded(thrown);
    }
  }

  /** The value of the entrypoint; undefined where it has none. Throws anything where the policy fails. */
  evaluate(entrypoint: string, input: object): unknown {
    const json = encoder.encode(JSON.stringify(input));
    if (json.length > inputBytesMax) {
      throw new Error(
        `the call makes ${json.length} bytes of input, at most ${inputBytesMax} are asked about`,
      );
    }
    for (let attempt = 1; ; attempt += 1) {
      const before = process.cpuUsage();
      try {
        return this.#evaluate(entrypoint, bufferOf(json));
      } catch (thrown) {
        const isStarved = isInterrupted(thrown) && cpuMsSince(before) < ownTimeMsMin;
        if (!isStarved || attempt >= attemptsMax) throw thrown;
      }
    }
  }

  #evaluate(entrypoint: string, input: ArrayBuffer): unknown {
    const loaded = (this.#loaded ??= this.#load());
    try {
      const results = boundedCall(() => loaded.evaluate(input, entrypoint), evaluationMs);
      return results[0]?.result;
    } catch (thrown) {
      // What it was in the middle of is in its memory.
      this.#loaded = undefined;
      throw thrown;
    }
  }

  #load(): OpaPolicy {
    return boundedCall(() => {
      const memory = { initial: memoryPages, maximum: memoryPages };
      const loaded = loadPolicySync(this.#module, memory);
      loaded.setData(this.#data);
      return loaded;
    }, loadMs);
  }
}

const loadMs = 5_000;
/** Time goes on while a busy machine lets the process wait. An evaluation that got less than this of it is tried again. */
const ownTimeMsMin = 0.75 * evaluationMs;
const attemptsMax = 5;

/** Of the whole process. */
function cpuMsSince(before: NodeJS.CpuUsage): number {
  const { user, system } = process.cpuUsage(before);
  return (user + system) / 1_000;
}

const encoder = new TextEncoder();

const bufferOf = ({ buffer, byteOffset, length }: Uint8Array<ArrayBuffer>): ArrayBuffer =>
  buffer.byteLength === length ? buffer : buffer.slice(byteOffset, byteOffset + length);

/** What became of an evaluation, in words. */
export const failureText = (thrown: unknown): string =>
  isInterrupted(thrown)
    ? `none within ${evaluationMs} ms`
    : `a failure: ${messageOf(thrown).slice(0, 200)}`;

function compiled(module: Uint8Array): WasmModule {
  try {
    return compileModule(module);
  } catch (cause) {
    throw notAPolicy('a module of WebAssembly', messageOf(cause), cause);
  }
}

function requireExports(module: WasmModule): void {
  const there = new Set(exportsOf(module));
  const missing = exportsNeeded.filter((name) => !there.has(name));
  if (missing.length === 0) return;
  throw notAPolicy("a policy of OPA's ABI 1.2 or later", `a module without ${missing.join(', ')}`);
}

function notLoaded(thrown: unknown): Error {
  const found = messageOf(thrown);
  if (isInterrupted(thrown)) {
    return notAPolicy(`a policy that is ready within ${loadMs} ms`, 'one that is not', thrown);
  }
  if (found.startsWith('unsupported ABI version')) {
    return notAPolicy("a policy of OPA's ABI 1.2 or later", found, thrown);
  }
  const expected = /memory|Maximum/i.test(found)
    ? `a policy that does with ${memoryPages} pages of memory (16 MiB)`
    : 'a policy that can be started';
  return notAPolicy(expected, found, thrown);
}

function requireAbi({ minorVersion = 0 }: OpaPolicy): void {
  if (minorVersion >= 2) return;
  throw notAPolicy("a policy of OPA's ABI 1.2 or later", `ABI 1.${minorVersion}`);
}

/** Names of those that it does not bring along. */
function wantedFunctions(loaded: OpaPolicy): readonly string[] {
  const { builtins, opa_json_dump: dump } = loaded.wasmInstance.exports as Record<
    'builtins' | 'opa_json_dump',
    (address?: number) => number
  >;
  const bytes = new Uint8Array(loaded.mem.buffer);
  const start = dump(builtins());
  const text = new TextDecoder().decode(bytes.subarray(start, bytes.indexOf(0, start)));
  return Object.keys(JSON.parse(text) as object);
}

/** A policy that lacks one would fail at some call, not now. */
function requireFunctions(wanted: readonly string[]): void {
  const missing = wanted.filter((name) => !offeredFunctions.includes(name));
  if (missing.length === 0) return;
  throw notAPolicy(
    `built-in functions that OPA compiles into the policy, or ${offeredFunctions.join(', ')}`,
    missing.join(', ').slice(0, 200),
  );
}
