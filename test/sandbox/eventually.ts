// Waiting for something that happens elsewhere, in another process or in the kernel, where nothing tells the test.
// Invariant: it always ends, and when it gives up it says what it last found.

const pauseMs = 10;

/** The result of the first `look` that does not throw. */
export async function eventually<Result>(
  what: string,
  timeoutMs: number,
  look: () => Result | Promise<Result>,
): Promise<Result> {
  const deadline = performance.now() + timeoutMs;
  for (;;) {
    try {
      return await look();
    } catch (error) {
      if (performance.now() > deadline) {
        throw new Error(`not within ${timeoutMs} ms: ${what}`, { cause: error });
      }
    }
    await new Promise((resolve) => setTimeout(resolve, pauseMs));
  }
}
