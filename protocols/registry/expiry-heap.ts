// When registrations end: one heap for all entries of a domain, so that one timer serves 110,000 of them.
// Invariants: a name has at most one node that counts; putting a deadline off costs nothing until the old one
// comes up (a refresh only changes a number), bringing it forward adds a node and forgets the old one.

interface Node {
  readonly name: string;
  readonly atMs: number;
}

export class ExpiryHeap {
  #heap: Node[] = [];
  /** The deadline that holds, and the node in the heap that stands for it. */
  #deadlines = new Map<string, { deadlineMs: number; node: Node }>();

  get size(): number {
    return this.#deadlines.size;
  }

  /** Nodes held, outdated ones included. */
  get nodeCount(): number {
    return this.#heap.length;
  }

  set(name: string, deadlineMs: number): void {
    const known = this.#deadlines.get(name);
    if (known !== undefined && known.node.atMs <= deadlineMs) {
      known.deadlineMs = deadlineMs;
      return;
    }
    const node = { name, atMs: deadlineMs };
    this.#deadlines.set(name, { deadlineMs, node });
    this.#push(node);
  }

  delete(name: string): void {
    this.#deadlines.delete(name);
    // Names that come and go faster than their deadlines pass would otherwise pile up.
    if (this.#heap.length > 64 && this.#heap.length > 4 * this.#deadlines.size) this.#rebuild();
  }

  /** When to look again; Infinity when nothing is held. */
  nextMs(): number {
    return this.#heap[0]?.atMs ?? Number.POSITIVE_INFINITY;
  }

  /** Takes at most `countMax` names whose deadline has passed. */
  takeDue(nowMs: number, countMax: number): readonly string[] {
    const due: string[] = [];
    while (due.length < countMax) {
      const top = this.#heap[0];
      if (top === undefined || top.atMs > nowMs) return due;
      this.#pop();
      const known = this.#deadlines.get(top.name);
      if (known === undefined || known.node !== top) continue;
      if (known.deadlineMs > nowMs) {
        known.node = { name: top.name, atMs: known.deadlineMs };
        this.#push(known.node);
        continue;
      }
      this.#deadlines.delete(top.name);
      due.push(top.name);
    }
    return due;
  }

  #rebuild(): void {
    this.#heap = [];
    for (const [name, known] of this.#deadlines) {
      known.node = { name, atMs: known.deadlineMs };
      this.#push(known.node);
    }
  }

  #push(node: Node): void {
    const heap = this.#heap;
    let at = heap.length;
    heap.push(node);
    while (at > 0) {
      const parentAt = (at - 1) >> 1;
      const parent = heap[parentAt];
      if (parent === undefined || parent.atMs <= node.atMs) break;
      heap[at] = parent;
      at = parentAt;
    }
    heap[at] = node;
  }

  #pop(): void {
    const heap = this.#heap;
    const last = heap.pop();
    if (last === undefined || heap.length === 0) return;
    let at = 0;
    for (;;) {
      const leftAt = 2 * at + 1;
      const left = heap[leftAt];
      if (left === undefined) break;
      const right = heap[leftAt + 1];
      const childAt = right !== undefined && right.atMs < left.atMs ? leftAt + 1 : leftAt;
      const child = heap[childAt];
      if (child === undefined || child.atMs >= last.atMs) break;
      heap[at] = child;
      at = childAt;
    }
    heap[at] = last;
  }
}
