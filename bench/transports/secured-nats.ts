// The bus as a mesh with identities uses it: TLS to nats-server, sealed messages, and a token in each call, signed by
// the caller and verified by the callee.

import { TokenReader } from '../../protocols/authorization/read-tokens.ts';
import { tokenHeader } from '../../protocols/nsm/token-metadata.ts';
import type { CallHeaders, Listener } from '../../protocols/ports/rpc.ts';
import { serve, type ServiceHandler } from '../../protocols/ports/rpc.ts';
import { NetworkService } from '../../protocols/nsm/gen/networkservice_pb.ts';
import { silentLog } from '../../protocols/ports/log.ts';
import { TestIdentities } from '../../test/sandbox/identities.ts';
import { startSecuredBus } from '../../test/sandbox/secured-bus.ts';
import { BusSeals } from '../../transports/nats/bus-seals.ts';
import { createNatsDialer } from '../../transports/nats/nats-dialer.ts';
import { createNatsListener } from '../../transports/nats/nats-listener.ts';
import { systemWallClock } from '../../transports/process/system-clock.ts';

const lifetimeMs = 600_000;

export async function openSecuredNats() {
  const identities = new TestIdentities();
  const trustDomain = `spiffe://${identities.server.trustDomain}`;
  const secured = await startSecuredBus(identities, 'dom', [
    { spiffeId: `${trustDomain}/caller`, roles: ['client'], node: 'node' },
    { spiffeId: `${trustDomain}/callee`, roles: ['nsmgr'], node: 'node' },
  ]);
  const side = async (name: string) => {
    const identity = await identities.source(name);
    const seals = new BusSeals({ identity, wallClock: systemWallClock, log: silentLog });
    return { identity, seals, bus: await secured.connect(identity) };
  };
  const [caller, callee] = [await side('caller'), await side('callee')];
  const callHeaders: CallHeaders = {
    names: [tokenHeader],
    make: (peer) => ({
      [tokenHeader]: caller.identity.signPathToken(peer?.spiffeId, lifetimeMs).token,
    }),
  };
  const reader = new TokenReader((token, leaf) => callee.identity.verifyPathToken(token, leaf));
  const listener = createNatsListener(callee.bus, { seals: callee.seals });
  return {
    dialer: createNatsDialer(caller.bus, { seals: caller.seals, callHeaders }),
    listener: verifying(listener, reader),
    url: 'nats://dom/node/nsmgr',
    close: async () => {
      for (const { bus, seals } of [caller, callee]) {
        await bus.close();
        seals.close();
      }
      await secured.close();
      await identities.close();
    },
  };
}

/** Does nothing for a call whose token its caller has not signed. */
function verifying(listener: Listener, reader: TokenReader): Listener {
  return {
    listen: (url, [service]) => {
      const inner = service?.handler as unknown as ServiceHandler<typeof NetworkService>;
      return listener.listen(url, [
        serve(NetworkService, {
          request: (message, context) => {
            const { leaf = new Uint8Array() } = context.peer;
            if (!reader.isSignedBy(context.headers[tokenHeader] ?? '', leaf)) {
              throw new Error('a token that the caller has not signed');
            }
            return inner.request(message, context);
          },
          close: (connection, context) => inner.close(connection, context),
        }),
      ]);
    },
  };
}
