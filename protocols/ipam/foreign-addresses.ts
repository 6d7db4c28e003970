// Addresses of other Endpoints that clients here still carry (the polite policy).
// Invariant: an address is carried by one connection at a time.

export class ForeignAddresses {
  readonly #by = new Map<string, string>();
  readonly #of = new Map<string, Set<string>>();

  /** False where another connection carries it. */
  carry(address: string, connectionId: string): boolean {
    const by = this.#by.get(address);
    if (by !== undefined) return by === connectionId;
    this.#by.set(address, connectionId);
    const own = this.#of.get(connectionId) ?? new Set();
    this.#of.set(connectionId, own.add(address));
    return true;
  }

  leave(connectionId: string): void {
    for (const address of this.#of.get(connectionId) ?? []) this.#by.delete(address);
    this.#of.delete(connectionId);
  }
}
