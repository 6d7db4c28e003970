// A queue on a ring that grows in powers of two: the mailbox of an actor and its stash.
// Invariant: a slot that was taken holds nothing, so that a delivered message can be collected.

export class Ring<T> {
  private items: (T | undefined)[] = [undefined, undefined, undefined, undefined];
  private head = 0;
  size = 0;

  get capacity(): number {
    return this.items.length;
  }

  push(item: T): void {
    if (this.size === this.items.length) this.grow();
    this.items[(this.head + this.size) & (this.items.length - 1)] = item;
    this.size += 1;
  }

  /** Puts an item before all others. */
  unshift(item: T): void {
    if (this.size === this.items.length) this.grow();
    this.head = (this.head - 1) & (this.items.length - 1);
    this.items[this.head] = item;
    this.size += 1;
  }

  /** Takes the first item; call only while `size` is above 0. */
  shift(): T {
    const item = this.items[this.head] as T;
    this.items[this.head] = undefined;
    this.head = (this.head + 1) & (this.items.length - 1);
    this.size -= 1;
    return item;
  }

  /** Twice itself holds the items in one piece from `head` on, whatever part of them had wrapped round. */
  private grow(): void {
    const { length } = this.items;
    const doubled = this.items.concat(this.items);
    doubled.fill(undefined, 0, this.head);
    doubled.fill(undefined, this.head + length);
    this.items = doubled;
  }
}
