// The parts of OPA's npm runtime and of WebAssembly that are used here: the types of the one leave out `loadPolicySync`, those
// of the other belong to browsers.

import * as packaged from '@open-policy-agent/opa-wasm';

export interface OpaPolicy {
  readonly minorVersion: number | undefined;
  readonly entrypoints: Readonly<Record<string, number>>;
  readonly mem: { readonly buffer: ArrayBuffer };
  readonly wasmInstance: { readonly exports: Readonly<Record<string, unknown>> };
  setData(data: object): void;
  /** `input`: JSON. The result set: one with the value, or an empty one. Throws texts, objects and errors. */
  evaluate(input: ArrayBuffer, entrypoint: string): readonly { readonly result: unknown }[];
}

/** Throws texts, objects and errors. `memory`: in pages of 64 KiB. */
export const loadPolicySync = (
  packaged as unknown as {
    readonly default: {
      readonly loadPolicySync: (
        module: WasmModule,
        memory: { readonly initial: number; readonly maximum: number },
      ) => OpaPolicy;
    };
  }
).default.loadPolicySync;

/** Compiled. */
export interface WasmModule {
  readonly [Symbol.toStringTag]: string;
}

declare const WebAssembly: {
  readonly Module: {
    new (bytes: Uint8Array): WasmModule;
    exports(module: WasmModule): readonly { readonly name: string }[];
  };
};

/** Throws where the bytes are no such module. */
export const compileModule = (bytes: Uint8Array): WasmModule => new WebAssembly.Module(bytes);

export const exportsOf = (module: WasmModule): readonly string[] =>
  WebAssembly.Module.exports(module).map(({ name }) => name);
