// Keeps the supplier of the in-process scenarios honest: it has the same promises as the one of real processes.

import { FakeSupplier } from '../sandbox/fake-supplier.ts';
import { endpointSupplierContract, type SupplierUnderTest } from './endpoint-supplier.ts';

const under = (supplier: FakeSupplier): SupplierUnderTest => ({
  supplier,
  kill: (name) => supplier.end(name, 'signal SIGKILL'),
  traces: (name) => supplier.running().flatMap((each) => (each.name === name ? [each.what] : [])),
  restart: async () => under(supplier),
});

endpointSupplierContract('fake', async () =>
  under(new FakeSupplier({ begin: async () => async () => {} })),
);
