// All messages of a set of modules: found by name, with their codec, their service and whether they are events.
// Invariants: a message's codec is made when it is first asked for; a name stands for one message only.

import { NsmError } from '../errors.ts';
import type { ApiMessage, ApiModule, ApiService } from './api-definition.ts';
import type { ModuleCompiler } from './compile-api.ts';
import { createCompiler } from './compile-api.ts';
import type { MessageCodec } from './message-codec.ts';
import { createMessageCodec } from './message-codec.ts';

export interface ApiCatalog {
  readonly names: readonly string[];
  /** Undefined where the definitions have no such message. */
  message(name: string): ApiMessage | undefined;
  service(request: string): ApiService | undefined;
  isEvent(name: string): boolean;
  /** Errors: UNIMPLEMENTED (no such message), INVALID_ARGUMENT (its definition makes no sense). */
  codec(name: string): MessageCodec;
}

/** Errors: INVALID_ARGUMENT where two modules define one message differently. */
export function createCatalog(modules: readonly ApiModule[]): ApiCatalog {
  return new Catalog(modules);
}

interface Entry {
  readonly message: ApiMessage;
  readonly module: ApiModule;
}

class Catalog implements ApiCatalog {
  readonly #entries = new Map<string, Entry>();
  readonly #services = new Map<string, ApiService>();
  readonly #events = new Set<string>();
  readonly #compilers = new Map<ApiModule, ModuleCompiler>();
  readonly #codecs = new Map<string, MessageCodec>();

  constructor(modules: readonly ApiModule[]) {
    for (const module of modules) {
      for (const message of module.messages) this.#add({ message, module });
      for (const service of module.services) {
        this.#services.set(service.request, service);
        for (const event of service.events) this.#events.add(event);
      }
    }
  }

  get names(): readonly string[] {
    return [...this.#entries.keys()];
  }

  message(name: string): ApiMessage | undefined {
    return this.#entries.get(name)?.message;
  }

  service(request: string): ApiService | undefined {
    return this.#services.get(request);
  }

  isEvent(name: string): boolean {
    return this.#events.has(name);
  }

  codec(name: string): MessageCodec {
    const made = this.#codecs.get(name);
    if (made !== undefined) return made;
    const entry = this.#entries.get(name);
    if (entry === undefined) {
      throw new NsmError('UNIMPLEMENTED', `the API definitions have no message ${name}`, {
        rule: 'message',
        expected: `one of ${this.#entries.size} messages`,
        found: name,
        remedy: 'check its name, and that its plugin is loaded',
      });
    }
    const { message, module } = entry;
    const compiler = this.#compilers.get(module) ?? createCompiler(module);
    this.#compilers.set(module, compiler);
    const codec = createMessageCodec(message, compiler);
    this.#codecs.set(name, codec);
    return codec;
  }

  #add(entry: Entry): void {
    const { name, crc } = entry.message;
    const known = this.#entries.get(name);
    if (known !== undefined && known.message.crc !== crc) {
      throw new NsmError('INVALID_ARGUMENT', 'two API definitions of one message differ', {
        rule: `message ${name}`,
        expected: `${name}_${known.message.crc} as in ${known.module.file}`,
        found: `${name}_${crc} in ${entry.module.file}`,
        remedy: 'use the files of one VPP',
      });
    }
    if (known === undefined) this.#entries.set(name, entry);
  }
}
