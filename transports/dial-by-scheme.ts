// The URL's scheme chooses the binding: `memory:` inside the process, `nats:` over the bus, everything else that
// NSM calls a URL (`unix:`, `tcp:`, bare `host:port`) over gRPC.

import { NsmError } from '../protocols/errors.ts';
import type { Dialer, Listener } from '../protocols/ports/rpc.ts';

/** A binding that a process does not have is left out. */
export interface ByScheme<Binding> {
  readonly memory?: Binding;
  readonly nats?: Binding;
  readonly grpc?: Binding;
}

/** `close` closes the dialers given. */
export function dialByScheme(bindings: ByScheme<{ readonly dialer: Dialer }>): Dialer {
  return {
    dial: (url) => choose(bindings, url).dialer.dial(url),
    close: async () => {
      const { memory, nats, grpc } = bindings;
      await Promise.all([memory?.dialer.close(), nats?.dialer.close(), grpc?.dialer.close()]);
    },
  };
}

export function listenByScheme(bindings: ByScheme<{ readonly listener: Listener }>): Listener {
  return {
    listen: async (url, services) => await choose(bindings, url).listener.listen(url, services),
  };
}

function choose<Binding>(bindings: ByScheme<Binding>, url: string): Binding {
  const name = bindingOf(url);
  const binding = name === undefined ? undefined : bindings[name];
  if (binding !== undefined) return binding;
  throw new NsmError('INVALID_ARGUMENT', 'no binding for this URL', {
    rule: 'url-scheme',
    expected: `one of ${Object.keys(bindings).join(', ')}: memory:, nats:, unix:, tcp: or host:port`,
    found: JSON.stringify(url.slice(0, 200)),
  });
}

function bindingOf(url: string): keyof ByScheme<unknown> | undefined {
  if (url.startsWith('memory:')) return 'memory';
  if (url.startsWith('nats:')) return 'nats';
  return /^(?:unix:|tcp:\/\/|[^/]*:\d+$)/.test(url) ? 'grpc' : undefined;
}
