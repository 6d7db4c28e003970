// The messages that the connected VPP and the definitions have in common, found by name and checksum. VPP leaves out of its
// own definitions what the built-in ones have (26.10: all of memclnt.api, control_ping among it).
// Invariant: a request is usable only where VPP has it, what answers it, and both as this client knows them.

import { NsmError } from '../../protocols/errors.ts';
import type { ApiCatalog } from '../../protocols/vpp/api-catalog.ts';
import type { ApiService } from '../../protocols/vpp/api-definition.ts';
import { builtinApi } from '../../protocols/vpp/builtin-api.ts';
import type { MessageCodec } from '../../protocols/vpp/message-codec.ts';
import type { Shape } from '../../protocols/vpp/message-shape.ts';
import { shapeDifferences } from '../../protocols/vpp/message-shape.ts';
import type { MessageShape } from '../../protocols/vpp/messages/known-messages.ts';
import { eventShape, shapesAround } from '../../protocols/vpp/messages/known-messages.ts';

export interface MessageTableOptions {
  readonly catalog: ApiCatalog;
  /** VPP's, by `name_crc`. */
  readonly ids: ReadonlyMap<string, number>;
  /** For errors. */
  readonly hop: string;
}

export class MessageTable {
  readonly #options: MessageTableOptions;
  readonly #usable = new Map<string, MessageCodec>();
  readonly #byKey = new Map<string, MessageCodec | undefined>();

  constructor(options: MessageTableOptions) {
    this.#options = options;
  }

  service(request: string): ApiService | undefined {
    return this.#catalogOf(request).service(request);
  }

  isEvent(name: string): boolean {
    return this.#options.catalog.isEvent(name);
  }

  /** The codec of a request that VPP has, with its answers. Errors: UNIMPLEMENTED, FAILED_PRECONDITION. */
  request(name: string): MessageCodec {
    const known = this.#usable.get(name);
    if (known !== undefined) return known;
    const codec = this.#shared(name);
    const service = this.service(name);
    if (service?.reply !== undefined) this.#shared(service.reply);
    if (service?.streamMessage !== undefined) this.#shared(service.streamMessage);
    for (const shape of shapesAround(name)) this.#checkShape(shape);
    this.#usable.set(name, codec);
    return codec;
  }

  /** Errors: as `request`; INVALID_ARGUMENT where `request` does not ask for such events. */
  checkEvent(name: string, request: string): void {
    this.#shared(name);
    const events = this.service(request)?.events ?? [];
    if (!events.includes(name)) {
      throw new NsmError('INVALID_ARGUMENT', `${request} does not ask for ${name}`, {
        rule: 'events',
        expected: events.length === 0 ? 'a request that asks for events' : events.join(', '),
        found: name,
      });
    }
    const shape = eventShape(name);
    if (shape !== undefined) this.#checkShape(shape);
  }

  /** Of a received message; undefined where the definitions do not have it, or not like that. */
  byKey(key: string): MessageCodec | undefined {
    if (this.#byKey.has(key)) return this.#byKey.get(key);
    const name = key.slice(0, key.lastIndexOf('_'));
    const catalog = this.#catalogOf(name);
    const isKnown = catalog.message(name) !== undefined && catalog.codec(name).key === key;
    const codec = isKnown ? catalog.codec(name) : undefined;
    this.#byKey.set(key, codec);
    return codec;
  }

  #catalogOf(message: string): ApiCatalog {
    const { catalog } = this.#options;
    const isBuiltin =
      catalog.message(message) === undefined && builtinApi.message(message) !== undefined;
    return isBuiltin ? builtinApi : catalog;
  }

  #shared(name: string): MessageCodec {
    const { ids, hop } = this.#options;
    const codec = this.#catalogOf(name).codec(name);
    if (ids.has(codec.key)) return codec;
    const other = [...ids.keys()].find((key) => key.slice(0, key.lastIndexOf('_')) === name);
    if (other === undefined) {
      throw new NsmError('UNIMPLEMENTED', `VPP has no message ${name}`, {
        hop,
        rule: 'message table',
        expected: `this client knows ${codec.key}`,
        found: 'no message of that name',
        remedy: 'load the plugin that has it',
      });
    }
    throw new NsmError('FAILED_PRECONDITION', `VPP has another version of the message ${name}`, {
      hop,
      rule: 'message table',
      expected: `this client knows ${codec.key}`,
      found: `VPP has ${other}`,
      remedy: 'give the definitions of the VPP that runs, or have them read from it',
    });
  }

  #checkShape({ message, fields }: MessageShape): void {
    const { hop } = this.#options;
    const shape: Shape = { kind: 'struct', fields };
    const { body } = this.#catalogOf(message).codec(message);
    const differences = shapeDifferences(body, shape, message);
    if (differences.length === 0) return;
    throw new NsmError('FAILED_PRECONDITION', `VPP has another version of the message ${message}`, {
      hop,
      rule: 'fields',
      expected: 'the fields that this client gives and reads',
      found: differences.join('; '),
      remedy: 'use a VPP of a version that is supported',
    });
  }
}
