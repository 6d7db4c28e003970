// Two keys that met, and what goes between them: each message sealed by AES-256-GCM with a key of its direction, bound
// to the subjects that it travels on, and opened once. Keys are derived by HKDF from the X25519 secret of both, so only
// the two holders can make or read a message.

import { createCipheriv, createDecipheriv, diffieHellman, hkdfSync } from 'node:crypto';
import type { KeyObject } from 'node:crypto';
import type { Peer } from '../../protocols/ports/rpc.ts';
import { ReplayWindow } from './replay-window.ts';

/** A key of this process, for the life of one SVID. Never log it. */
export interface OwnKey {
  /** Public half, base64url. */
  readonly key: string;
  readonly secret: KeyObject;
  /** Of the SVID that it was made for. */
  readonly leaf: Uint8Array;
  /** Messages that were sealed with it, to whomever: no count is used twice, whatever is forgotten meanwhile. */
  sent: number;
}

/** A key of another process, and whose it was found to be. */
export interface Party {
  readonly key: string;
  readonly publicKey: KeyObject;
  readonly peer: Peer & { readonly spiffeId: string; readonly leaf: Uint8Array };
  readonly chain: readonly Uint8Array[];
  /** Wall-clock ms at which trust in it ends. */
  readonly endsAtMs: number;
}

/** Where a message travels. */
export interface Route {
  readonly subject: string;
  /** Empty where no answer is expected. */
  readonly reply: string;
}

const cipherName = 'aes-256-gcm';
const nonceBytes = 12;
const tagBytes = 16;

export class Session {
  readonly own: OwnKey;
  readonly party: Party;
  /** The other one, as it knows this process. */
  readonly peer: Party['peer'];
  readonly #sendKey: Buffer;
  readonly #receiveKey: Buffer;
  readonly #window = new ReplayWindow();

  constructor(own: OwnKey, party: Party) {
    this.own = own;
    this.party = party;
    this.peer = Object.freeze({ ...party.peer, ownLeaf: own.leaf });
    const secret = diffieHellman({ privateKey: own.secret, publicKey: party.publicKey });
    this.#sendKey = directionKey(secret, own.key, party.key);
    this.#receiveKey = directionKey(secret, party.key, own.key);
  }

  /** Never twice under one count: the nonce is made of it. */
  seal(
    { subject, reply }: Route,
    parts: readonly Uint8Array[],
  ): { count: number; body: Uint8Array } {
    const count = this.own.sent + 1;
    this.own.sent = count;
    const cipher = createCipheriv(cipherName, this.#sendKey, nonceOf(count));
    cipher.setAAD(boundTo(subject, reply));
    const sealed = parts.map((part) => cipher.update(part));
    sealed.push(cipher.final(), cipher.getAuthTag());
    return { count, body: Buffer.concat(sealed) };
  }

  /** Undefined for a message that the party did not make for this route, and for one that was opened before. */
  open({ subject, reply }: Route, count: number, body: Uint8Array): Uint8Array | undefined {
    if (body.length < tagBytes || this.#window.isTaken(count)) return undefined;
    const decipher = createDecipheriv(cipherName, this.#receiveKey, nonceOf(count));
    decipher.setAAD(boundTo(subject, reply));
    decipher.setAuthTag(body.subarray(body.length - tagBytes));
    try {
      const start = decipher.update(body.subarray(0, body.length - tagBytes));
      const opened = Buffer.concat([start, decipher.final()]);
      this.#window.take(count);
      return opened;
    } catch {
      return undefined;
    }
  }
}

/** The names of both keys are part of it, so that no message can be turned round or meant for another. */
function directionKey(secret: Buffer, from: string, to: string): Buffer {
  return Buffer.from(hkdfSync('sha256', secret, '', `vwire-bus-1 ${from} ${to}`, 32));
}

function nonceOf(count: number): Buffer {
  const nonce = Buffer.alloc(nonceBytes);
  nonce.writeBigUInt64BE(BigInt(count), nonceBytes - 8);
  return nonce;
}

/** Subjects hold no line break. */
const boundTo = (subject: string, reply: string): Buffer =>
  Buffer.from(`${subject}\n${reply}`, 'latin1');
