// Protects a client that starts again: it goes on with what its manager holds of its last life where that ends at its
// own interface and still works, and lets nothing else of the past keep it from being connected.

import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { NsmError } from '../../../protocols/errors.ts';
import { type Connection, State } from '../../../protocols/nsm/gen/connection_pb.ts';
import { kernelMechanism } from '../../../protocols/nsm/kernel-mechanism.ts';
import { settle } from '../../sandbox/manual-clock.ts';
import { type ClientFixture, createClientFixture, ownNamespace } from './client-fixture.ts';
import { away } from './fake-manager.ts';

let fixture: ClientFixture;
let clock: ClientFixture['clock'];
let manager: ClientFixture['manager'];

beforeEach(async () => {
  fixture = await createClientFixture();
  ({ clock, manager } = fixture);
});

afterEach(() => fixture.end());

describe('a client that starts anew', () => {
  async function heldBefore(
    change: Partial<Connection> = {},
    own?: ReturnType<typeof kernelMechanism>,
    hiding = 0,
  ): Promise<Connection> {
    await fixture.established();
    const view = manager.view({ networkServiceEndpointName: 'nse-before', ...change });
    await fixture.close();
    fixture.forget();
    manager.held = [view];
    manager.hiding = hiding;
    fixture.start(own === undefined ? {} : { mechanism: own });
    await clock.advance(1);
    return view;
  }

  it.each([
    { what: 'namespace', netnsUrl: 'inode://4/2', interfaceName: 'nsm-1' },
    { what: 'interface', netnsUrl: ownNamespace, interfaceName: 'nsm-2' },
  ])('begins anew where what its manager holds ends at another $what', async (own) => {
    await heldBefore({}, kernelMechanism(own));
    const [asked] = manager.asked;
    expect(asked?.connection.networkServiceEndpointName).toBe('');
    expect(asked?.connection.mechanism).toBeUndefined();
    expect(fixture.phases()).toEqual(['established']);
    await fixture.close();
  });

  it('goes on with an interface whose name was made up in its last life', async () => {
    const named = (interfaceName: string) =>
      kernelMechanism({ netnsUrl: ownNamespace, interfaceName });
    await heldBefore({ mechanism: named('service-abcdefg') }, named('service-0123456'));
    expect(manager.asked[0]?.connection).toMatchObject({
      networkServiceEndpointName: 'nse-before',
      mechanism: named('service-abcdefg'),
    });
    await fixture.close();
  });

  it('asks for another Endpoint where what its manager holds is down', async () => {
    await heldBefore({ state: State.DOWN });
    const asked = manager.asked[0]?.connection;
    expect(asked?.state).toBe(State.RESELECT_REQUESTED);
    expect(asked?.networkServiceEndpointName).toBe('');
    expect(asked?.mechanism).toBeUndefined();
    expect(asked?.path?.pathSegments.map(({ id }) => id)).toEqual(['nsc-0', 'manager-id']);
    await fixture.close();
  });

  it('keeps the wire that its manager holds while it leaves the Endpoint that is away', async () => {
    manager.refusalOf = ({ networkServiceEndpointName }) =>
      networkServiceEndpointName === 'nse-before' ? away() : undefined;
    await heldBefore();
    await clock.advance(200);
    expect(manager.asked.map((each) => each.connection.networkServiceEndpointName)).toEqual([
      'nse-before',
      '',
    ]);
    const { state, path } = manager.asked[1]?.connection ?? {};
    expect(state).toBe(State.RESELECT_REQUESTED);
    expect(path?.pathSegments.map(({ id }) => id)).toEqual(['nsc-0', 'manager-id']);
    expect(fixture.phases()).toEqual(['requesting', 'established']);
    await fixture.close();
  });

  it('begins anew once the connection itself is refused, and never takes it up again', async () => {
    manager.refusalOf = ({ networkServiceEndpointName, state }) =>
      networkServiceEndpointName === 'nse-before' || state === State.RESELECT_REQUESTED
        ? new NsmError('INVALID_ARGUMENT', 'no', { hop: 'forwarder' })
        : undefined;
    await heldBefore();
    await clock.advance(500);
    expect(manager.asked.map(({ connection }) => connection.state)).toEqual([
      State.UP,
      State.RESELECT_REQUESTED,
      State.UP,
    ]);
    expect(fixture.phases()).toEqual(['requesting', 'requesting', 'established']);
    await fixture.close();
  });

  it('goes on with the connection that its manager holds', async () => {
    await heldBefore();
    expect(manager.asked[0]?.connection).toMatchObject({
      networkServiceEndpointName: 'nse-before',
      path: { pathSegments: [{ id: 'nsc-0' }, { id: 'manager-id' }] },
      mechanism: { type: 'KERNEL' },
    });
    await fixture.close();
  });

  it('does not take a manager that could not show what it holds for one that holds nothing', async () => {
    await heldBefore({}, undefined, 2);
    await clock.advance(5_000);
    expect(manager.asked.map(({ connection }) => connection.networkServiceEndpointName)).toEqual([
      'nse-before',
    ]);
    expect(fixture.phases()).toEqual(['requesting', 'requesting', 'established']);
    await fixture.close();
  });

  it('heeds nothing held with another mechanism', async () => {
    const mechanism = { ...kernelMechanism({}), type: 'MEMIF' };
    await heldBefore({ mechanism });
    expect(manager.asked[0]?.connection.networkServiceEndpointName).toBe('');
    await fixture.close();
  });

  it('is patient with a manager whose forwarder is not back yet', async () => {
    let isBack = true;
    manager.refusalOf = () => {
      const details = { hop: 'nsmgr', rule: 'select-forwarder' };
      return isBack ? undefined : new NsmError('NOT_FOUND', 'no forwarder', details);
    };
    await heldBefore();
    await fixture.close();
    isBack = false;
    fixture.forget();
    fixture.start();
    await clock.advance(1_000);
    isBack = true;
    await clock.advance(2_000);
    expect(manager.asked.length).toBeGreaterThan(2);
    for (const { connection } of manager.asked) {
      expect(connection.networkServiceEndpointName).toBe('nse-before');
    }
    expect(fixture.phases().at(-1)).toBe('established');
    await fixture.close();
  });

  it('closes what its manager holds also while its first Request hangs', async () => {
    await heldBefore();
    await fixture.close();
    fixture.forget();
    manager.gate.close();
    fixture.start();
    await clock.advance(1);
    expect(manager.gate.waiting).toBe(1);
    await fixture.close();
    expect(manager.closed).toMatchObject([{ networkServiceEndpointName: 'nse-before' }]);
    manager.gate.open();
    await settle();
  });

  it('connects once its manager is there', async () => {
    await manager.stop();
    fixture.start();
    await clock.advance(3_000);
    await manager.start();
    await clock.advance(5_000);
    expect(fixture.phases().at(-1)).toBe('established');
    await fixture.close();
  });
});
