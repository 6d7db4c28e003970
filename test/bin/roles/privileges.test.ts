// Protects people from believing that rights were given up where they could not be.

import { describe, expect, it } from 'vitest';
import { privilegeWarning } from '../../../bin/roles/privileges.ts';

describe('rights that cannot be given up', () => {
  it('are warned of where root has no setpriv', () => {
    const warning = privilegeWarning({ PATH: '/nonexistent' });
    if (process.getuid?.() === 0) expect(warning).toContain('setpriv');
    else expect(warning).toBeUndefined();
  });
});
