// Holds work at a chosen place until a test lets it go, and tells the test when somebody has arrived there.

export interface Gate {
  /** What is to be held awaits this. */
  pass(): Promise<void>;
  close(): void;
  /** Lets everybody go who waits, and whoever comes. */
  open(): void;
  /** Resolves when that many wait. */
  arrival(count?: number): Promise<void>;
  readonly waiting: number;
  readonly mostWaiting: number;
}

/** An open gate. */
export function createGate(): Gate {
  let isOpen = true;
  let most = 0;
  let held: (() => void)[] = [];
  let expected: { readonly count: number; readonly arrived: () => void }[] = [];
  const tellArrivals = (): void => {
    for (const { count, arrived } of expected) if (held.length >= count) arrived();
    expected = expected.filter(({ count }) => held.length < count);
  };
  return {
    async pass() {
      if (isOpen) return;
      await new Promise<void>((resolve) => {
        held.push(resolve);
        most = Math.max(most, held.length);
        tellArrivals();
      });
    },
    close: () => void (isOpen = false),
    open() {
      isOpen = true;
      const going = held;
      held = [];
      for (const go of going) go();
    },
    arrival: (count = 1) =>
      new Promise((arrived) => {
        expected.push({ count, arrived });
        tellArrivals();
      }),
    get waiting() {
      return held.length;
    },
    get mostWaiting() {
      return most;
    },
  };
}
