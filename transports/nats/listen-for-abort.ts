// A caller's signal may stand for many calls at once (an actor's own, for example), each of which listens to it until
// it ends; Node would warn of a leak from the eleventh on.

import { setMaxListeners } from 'node:events';

export function listenForAbort(signal: AbortSignal, listener: () => void): void {
  setMaxListeners(0, signal);
  signal.addEventListener('abort', listener);
}
