// Protects manifests of the reference: what NSM_REGISTRY_SERVER_POLICIES selects there is what is asked here, and a policy that
// cannot be asked is never passed over in silence.

import { describe, expect, it } from 'vitest';
import {
  allRegistryPolicies,
  selectRegistryPolicies,
} from '../../../protocols/authorization/registry-policies.ts';

const selected = (...entries: string[]): readonly string[] =>
  [...selectRegistryPolicies(entries)].toSorted();

describe('policies of a registry', () => {
  it.each([
    [
      "the reference's own default",
      ['common/.*.rego', 'registry/.*.rego', 'server/.*.rego'],
      ['client_allowed', 'prev_token_signed', 'tokens_chained', 'tokens_expired', 'tokens_valid'],
    ],
    ['one file', ['common/tokens_valid.rego'], ['tokens_valid']],
    ['an expression', ['common/tokens_(valid|expired).rego'], ['tokens_expired', 'tokens_valid']],
  ])('are selected by %s', (_, masks, rules) => {
    expect(selected(...masks.map((mask) => `etc/nsm/opa/${mask}`))).toEqual(rules);
  });

  it('are selected by their names, and none where nothing is', () => {
    expect(selected('client_allowed', 'tokens_valid')).toEqual(['client_allowed', 'tokens_valid']);
    expect(selected()).toEqual([]);
    expect(selected('etc/nsm/opa/.*')).toEqual([...allRegistryPolicies].toSorted());
  });

  it.each([
    ['a file of the operator', '/etc/policies/mine.rego', 'cannot be run'],
    ['a built-in file that is not there', 'etc/nsm/opa/common/other.rego', 'selects no rule'],
    ['an expression that is none', 'etc/nsm/opa/common/(.rego', 'selects no rule'],
    ['a rule that is not there', 'tokens_fine', 'cannot be run'],
  ])('are refused where they name %s', (_, entry, message) => {
    expect(() => selectRegistryPolicies([entry])).toThrow(
      expect.objectContaining({
        code: 'INVALID_ARGUMENT',
        message: expect.stringContaining(message) as string,
      }),
    );
  });
});
