// Policies in WebAssembly without a compiler of Rego: modules assembled here byte by byte, which speak as much of OPA's ABI as
// a host needs, and answer each entrypoint with a fixed text, or with what a hostile or broken policy would do.

import { gzipSync } from 'node:zlib';

export interface WasmPolicy {
  /** By entrypoint: the value that it has; `undefined` for one without. */
  readonly answers: Readonly<Record<string, unknown>>;
  /** What an evaluation does instead: answers with its input, never ends, gives up, or runs into a trap. */
  readonly does?: 'echo' | 'loop' | 'abort' | 'trap';
  /** Functions that it wants of its host. */
  readonly builtins?: readonly string[];
  readonly abi?: readonly [number, number];
  /** Pages of memory that it declares. */
  readonly pages?: number;
  /** Exports that it lacks. */
  readonly without?: readonly string[];
}

/** Magic and version of a module. */
const header = [0x00, 0x61, 0x73, 0x6d, 0x01, 0x00, 0x00, 0x00];
const i32 = 0x7f;
const at = { entrypoints: 1_024, builtins: 4_096, scratch: 8_192, answers: 16_384, abort: 12_288 };
const answerBytes = 1_024;
const heap = 65_536;
const echoBefore = '[{"result":';
/** `}]` and the end of a text, little-endian. */
const echoAfter = 0x5d7d;

export function assemblePolicy(policy: WasmPolicy): Uint8Array {
  const names = Object.keys(policy.answers);
  const texts: [number, string][] = [
    [at.entrypoints, JSON.stringify(Object.fromEntries(names.map((name, id) => [name, id])))],
    [
      at.builtins,
      JSON.stringify(Object.fromEntries((policy.builtins ?? []).map((n, i) => [n, i]))),
    ],
    [at.abort, 'given up'],
    [heap - echoBefore.length, echoBefore],
    ...names.map((name, id): [number, string] => [
      at.answers + id * answerBytes,
      policy.answers[name] === undefined
        ? '[]'
        : JSON.stringify([{ result: policy.answers[name] }]),
    ]),
  ];
  const functions: readonly (readonly [string, number, readonly number[]])[] = [
    ['builtins', 0, constant(at.builtins)],
    ['entrypoints', 0, constant(at.entrypoints)],
    ['opa_json_dump', 1, localGet(0)],
    ['opa_json_parse', 2, localGet(0)],
    ['opa_malloc', 1, constant(at.scratch)],
    ['opa_heap_ptr_get', 0, constant(heap)],
    ['opa_heap_ptr_set', 3, []],
    ['opa_eval', 4, evaluation(policy.does)],
  ];
  const [major, minor] = policy.abi ?? [1, 3];
  const isThere = (name: string): boolean => !(policy.without ?? []).includes(name);
  const exported = [
    ...functions.map(([name], index) => [name, 0x00, index + 1] as const),
    ['opa_wasm_abi_version', 0x03, 0] as const,
    ['opa_wasm_abi_minor_version', 0x03, 1] as const,
  ].filter(([name]) => isThere(name));
  return Uint8Array.from([
    ...header,
    ...section(1, [
      functionType(0, 1),
      functionType(1, 1),
      functionType(2, 1),
      functionType(1, 0),
      functionType(7, 1),
    ]),
    ...section(2, [
      [...text('env'), ...text('memory'), 0x02, 0x00, ...unsigned(policy.pages ?? 2)],
      [...text('env'), ...text('opa_abort'), 0x00, 3],
    ]),
    ...section(
      3,
      functions.map(([, type]) => [type]),
    ),
    ...section(
      6,
      [major, minor].map((value) => [i32, 0x00, ...constant(value), 0x0b]),
    ),
    ...section(
      7,
      exported.map(([name, kind, index]) => [...text(name), kind, index]),
    ),
    ...section(
      10,
      functions.map(([, , code]) => sized([0, ...code, 0x0b])),
    ),
    ...section(
      11,
      texts.map(([address, value]) => [0, ...constant(address), 0x0b, ...text(value)]),
    ),
  ]);
}

/** As `opa build` packs it. */
export function bundleOf(files: Readonly<Record<string, Uint8Array | string>>): Uint8Array {
  const blocks = Object.entries(files).flatMap(([name, content]) => {
    const bytes = Buffer.from(content);
    const head = Buffer.alloc(512);
    head.write(name, 0);
    head.write(bytes.length.toString(8).padStart(11, '0'), 124);
    head.write('0', 156);
    return [head, bytes, Buffer.alloc((512 - (bytes.length % 512)) % 512)];
  });
  return gzipSync(Buffer.concat([...blocks, Buffer.alloc(1_024)]));
}

/** The parameters of opa_eval: reserved, entrypoint, data, input, its length, heap, format. */
function evaluation(does: WasmPolicy['does']): readonly number[] {
  switch (does) {
    case 'loop':
      return [0x03, 0x40, 0x0c, 0x00, 0x0b, 0x00];
    case 'abort':
      return [...constant(at.abort), 0x10, 0, ...constant(0)];
    case 'trap':
      return [0x00];
    case 'echo':
      return [
        ...localGet(3),
        ...localGet(4),
        0x6a,
        ...constant(echoAfter),
        0x36,
        0x00,
        0x00,
        ...constant(heap - echoBefore.length),
      ];
    case undefined:
      return [...localGet(1), ...constant(answerBytes), 0x6c, ...constant(at.answers), 0x6a];
  }
}

const localGet = (index: number): readonly number[] => [0x20, index];
const constant = (value: number): readonly number[] => [0x41, ...signed(value)];

const functionType = (parameters: number, results: number): readonly number[] => [
  0x60,
  parameters,
  ...Array<number>(parameters).fill(i32),
  results,
  ...Array<number>(results).fill(i32),
];

const section = (id: number, entries: readonly (readonly number[])[]): readonly number[] => [
  id,
  ...sized([...unsigned(entries.length), ...entries.flat()]),
];

const sized = (bytes: readonly number[]): readonly number[] => [
  ...unsigned(bytes.length),
  ...bytes,
];

const text = (value: string): readonly number[] => sized([...Buffer.from(value)]);

/** LEB128. */
function unsigned(value: number): readonly number[] {
  return value < 0x80 ? [value] : [(value & 0x7f) | 0x80, ...unsigned(value >>> 7)];
}

function signed(value: number): readonly number[] {
  return value < 0x40 ? [value] : [(value & 0x7f) | 0x80, ...signed(value >>> 7)];
}
