// Protects what a Go peer and an operator see of gRPC: the sockets and addresses that are listened on, plaintext only
// where it is allowed, the health service, status lines, and channels that are closed when nobody uses them.

import { existsSync } from 'node:fs';
import { mkdtemp, rm, stat, symlink, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { create } from '@bufbuild/protobuf';
import { Client, credentials, Metadata, type ServiceError } from '@grpc/grpc-js';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import {
  NetworkService,
  NetworkServiceRequestSchema,
} from '../../../protocols/nsm/gen/networkservice_pb.ts';
import type { Listening } from '../../../protocols/ports/rpc.ts';
import { createGrpc } from '../../../transports/grpc/grpc.ts';
import { parseGrpcUrl, publishedHost } from '../../../transports/grpc/grpc-address.ts';
import { failure } from '../../contract/rpc.ts';
import { clock } from '../../contract/rpc-bindings.ts';
import { Probe, testServices } from '../../contract/rpc-services.ts';

describe('gRPC', () => {
  let folder: string;
  const grpc = createGrpc({ clock, insecure: true, idleMs: 50 });
  const services = () => testServices(clock, new Probe());
  const open: Listening[] = [];
  const listen = async (url: string): Promise<Listening> => {
    const listening = await grpc.listener.listen(url, services());
    open.push(listening);
    return listening;
  };
  const echo = (url: string) =>
    grpc.dialer
      .dial(url)
      .client(NetworkService)
      .request(create(NetworkServiceRequestSchema, { connection: { id: 'c' } }), {
        timeoutMs: 5000,
      });

  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'vwire-grpc-'));
  });
  afterEach(async () => {
    await Promise.all(open.splice(0).map((listening) => listening.close(0)));
    await rm(folder, { recursive: true, force: true });
  });

  it('makes folders, sets mode 0777 and replaces a stale socket', async () => {
    const path = join(folder, 'a', 'b', 'nsm.sock');
    const first = await listen(`unix://${path}`);
    expect((await stat(path)).mode & 0o777).toBe(0o777);
    expect((await failure(listen(`unix://${path}`))).code).toBe('ALREADY_EXISTS');
    await first.close(0);
    await staleSocket(path);
    expect(existsSync(path)).toBe(true);
    const second = await listen(`unix://${path}`);
    expect((await echo(second.url)).id).toBe('c');
  });

  it('removes no file that is not a socket', async () => {
    const file = join(folder, 'precious');
    await writeFile(file, 'data');
    await symlink(file, join(folder, 'link'));
    for (const name of ['precious', 'link']) {
      expect((await failure(listen(`unix://${folder}/${name}`))).code).toBe('ALREADY_EXISTS');
    }
    expect(existsSync(file)).toBe(true);
  });

  it('accepts the forms of URL that the reference accepts', () => {
    expect(parseGrpcUrl('unix:///a/b.sock')).toEqual({ kind: 'unix', path: '/a/b.sock' });
    expect(parseGrpcUrl('tcp://:5002')).toEqual({ kind: 'tcp', host: '', port: 5002 });
    expect(parseGrpcUrl('tcp://[fd00::1]:1')).toEqual({ kind: 'tcp', host: 'fd00::1', port: 1 });
    expect(parseGrpcUrl('registry:5002')).toEqual({ kind: 'tcp', host: 'registry', port: 5002 });
    const bad = [
      '',
      ':5002',
      'registry',
      'tcp://a:65536',
      'tcp://a:b',
      'unix://relative',
      'http://a:1',
    ];
    for (const url of [...bad, `unix:///${'x'.repeat(200)}`]) {
      expect(() => parseGrpcUrl(url), url).toThrow(/URL of a gRPC peer|path of the socket/);
    }
  });

  it('publishes a listener on every address under one that peers can reach', async () => {
    const everywhere = createGrpc({
      clock,
      insecure: true,
      plaintextNetworks: ['0.0.0.0/0', '::/0'],
    });
    const listening = await everywhere.listener.listen('tcp://:0', services());
    const { host } = parseGrpcUrl(listening.url) as { host: string };
    expect(host).toBe(publishedHost());
    await listening.close(0);
    await everywhere.dialer.close();
  });

  it('refuses plaintext without the flag, beyond loopback, and says what to do', async () => {
    const secure = createGrpc({ clock });
    expect(() => secure.dialer.dial('tcp://127.0.0.1:1')).toThrow(/plaintext/);
    const error = await failure(secure.listener.listen(`unix://${folder}/s`, services()));
    expect(error.code).toBe('FAILED_PRECONDITION');
    expect(error.details.remedy).toContain('insecure');
    for (const url of ['tcp://10.1.2.3:1', 'registry:5002', 'tcp://[fd00::1]:1']) {
      expect(() => grpc.dialer.dial(url), url).toThrow(/plaintext/);
    }
    expect((await failure(listen('tcp://:0'))).code).toBe('FAILED_PRECONDITION');
    const networks = createGrpc({ clock, insecure: true, plaintextNetworks: ['10.0.0.0/8'] });
    expect(networks.dialer.dial('tcp://10.1.2.3:1').url).toBe('tcp://10.1.2.3:1');
    expect(() => networks.dialer.dial('tcp://11.1.2.3:1')).toThrow(/plaintext/);
    expect(() => createGrpc({ clock, plaintextNetworks: ['10.0.0.0'] })).toThrow(/not a network/);
  });

  it('serves health for the empty name and each service', async () => {
    const listening = await listen(`unix://${folder}/h.sock`);
    const client = new Client(listening.url, credentials.createInsecure());
    const check = (service: string) =>
      unary(client, '/grpc.health.v1.Health/Check', [
        0x0a,
        service.length,
        ...Buffer.from(service),
      ]);
    expect([...(await check(''))]).toEqual([8, 1]);
    expect([...(await check('networkservice.NetworkService'))]).toEqual([8, 1]);
    await expect(check('nobody')).rejects.toMatchObject({ code: 5 });
    await expect(unary(client, '/grpc.health.v1.Health/Check', [0xff])).rejects.toMatchObject({
      code: 13,
    });
    expect([...(await check(''))]).toEqual([8, 1]);
    client.close();
  });

  it('tells a Go peer the refusal in one line, and an undecodable request as INVALID_ARGUMENT', async () => {
    const listening = await listen(`unix://${folder}/g.sock`);
    const client = new Client(listening.url, credentials.createInsecure());
    const path = '/networkservice.NetworkService/Request';
    const fail = [0x0a, 6, 0x12, 4, ...Buffer.from('fail')];
    const refused = await unary(client, path, fail).catch((error: ServiceError) => error);
    expect(refused).toMatchObject({ code: 7 });
    expect((refused as ServiceError).details).toMatch(/^the rule "ü" refuses it: 100 % \(hop: /);
    await expect(unary(client, path, [0x0a, 200])).rejects.toMatchObject({ code: 3 });
    await expect(unary(client, '/networkservice.NetworkService/Nothing', [])).rejects.toMatchObject(
      {
        code: 12,
      },
    );
    const hostile = new Metadata();
    hostile.set('vwire-operation', 'not an operation');
    await expect(unary(client, path, [], hostile)).rejects.toMatchObject({ code: 3 });
    hostile.set('vwire-operation', 'x'.repeat(100_000));
    await expect(unary(client, path, [], hostile)).rejects.toBeInstanceOf(Error);
    expect((await echo(listening.url)).id).toBe('c');
    client.close();
  });

  it('closes a channel that nobody uses, and dials again', async () => {
    const listening = await listen(`unix://${folder}/i.sock`);
    const sockets = (): number =>
      process.getActiveResourcesInfo().filter((name) => name === 'PipeWrap').length;
    const before = sockets();
    await echo(listening.url);
    expect(sockets()).toBeGreaterThan(before);
    const endsAt = Date.now() + 5000;
    while (sockets() > before && Date.now() < endsAt)
      await new Promise((next) => setImmediate(next));
    expect(sockets()).toBe(before);
    expect((await echo(listening.url)).id).toBe('c');
  });
});

/** A socket file that nobody serves, as a killed process leaves it. */
async function staleSocket(path: string): Promise<void> {
  const server = createServer();
  const kept = `${path}.kept`;
  await new Promise<void>((resolve) => server.listen(kept, resolve));
  const { rename } = await import('node:fs/promises');
  await rename(kept, path);
  await new Promise((resolve) => server.close(resolve));
}

function unary(
  client: Client,
  path: string,
  body: readonly number[],
  metadata = new Metadata(),
): Promise<Uint8Array> {
  return new Promise((resolve, reject) => {
    client.makeUnaryRequest(
      path,
      (bytes: Buffer) => bytes,
      (bytes) => bytes,
      Buffer.from(body),
      metadata,
      { deadline: Date.now() + 5000 },
      (error, answer) => (error === null ? resolve(answer as Buffer) : reject(error)),
    );
  });
}
