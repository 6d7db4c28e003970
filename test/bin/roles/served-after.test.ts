// Protects wires that are still being adopted: a call for them waits until they are, in its turn, and gives up with its
// caller; afterwards the gate is not there.

import { create } from '@bufbuild/protobuf';
import { EmptySchema } from '@bufbuild/protobuf/wkt';
import { describe, expect, it } from 'vitest';
import { servedAfter } from '../../../bin/roles/served-after.ts';
import {
  ConnectionEventSchema,
  ConnectionSchema,
  MonitorConnection,
} from '../../../protocols/nsm/gen/connection_pb.ts';
import {
  NetworkService,
  NetworkServiceRequestSchema,
} from '../../../protocols/nsm/gen/networkservice_pb.ts';
import { type CallContext, serve, type ServiceHandler } from '../../../protocols/ports/rpc.ts';
import { settle } from '../../sandbox/manual-clock.ts';

function gate() {
  const seen: string[] = [];
  let open = (): void => {};
  const ready = new Promise<void>((resolve) => {
    open = resolve;
  });
  const services = servedAfter(ready, [
    serve(NetworkService, {
      request: ({ connection }) => {
        seen.push(`request ${connection?.id}`);
        return Promise.resolve(connection ?? create(ConnectionSchema));
      },
      close: ({ id }) => {
        seen.push(`close ${id}`);
        return Promise.resolve(create(EmptySchema));
      },
    }),
    serve(MonitorConnection, {
      async *monitorConnections() {
        seen.push('monitor');
        yield create(ConnectionEventSchema);
      },
    }),
  ]);
  const [service, monitor] = services.map(({ handler }) => handler);
  return {
    seen,
    open,
    service: service as unknown as ServiceHandler<typeof NetworkService>,
    monitor: monitor as unknown as ServiceHandler<typeof MonitorConnection>,
  };
}

const context = (signal = new AbortController().signal): CallContext => ({
  signal,
  deadlineMs: 1_000,
  headers: {},
  peer: { binding: 'memory' },
  setHeader() {},
});
const requestOf = (id: string) => create(NetworkServiceRequestSchema, { connection: { id } });

describe('a service that is not ready yet', () => {
  it('answers in order of arrival once it is', async () => {
    const { seen, open, service } = gate();
    const calls = [
      service.request(requestOf('a'), context()),
      service.close(create(ConnectionSchema, { id: 'a' }), context()),
      service.request(requestOf('b'), context()),
    ];
    await settle();
    expect(seen).toEqual([]);
    open();
    await Promise.all(calls);
    expect(seen).toEqual(['request a', 'close a', 'request b']);
    void service.request(requestOf('c'), context());
    expect(seen.at(-1)).toBe('request c');
  });

  it('drops a call whose caller has gone', async () => {
    const { seen, open, service } = gate();
    const caller = new AbortController();
    const call = service.request(requestOf('a'), context(caller.signal));
    caller.abort();
    await expect(call).rejects.toMatchObject({ code: 'UNAVAILABLE' });
    open();
    await settle();
    expect(seen).toEqual([]);
  });

  it('begins a stream once it is', async () => {
    const { seen, open, monitor } = gate();
    const read = (async () => {
      for await (const _ of monitor.monitorConnections({} as never, context()));
    })();
    await settle();
    expect(seen).toEqual([]);
    open();
    await read;
    expect(seen).toEqual(['monitor']);
  });
});
