// The policy routes of an Endpoint, from a file that may change while it runs.

import { policyRoutesFrom } from '../../protocols/nsm/policy-routes-document.ts';
import type { Log } from '../../protocols/ports/log.ts';
import type { PolicyRoutes } from './compose-nse.ts';
import { followFile } from './followed-file.ts';

/** Stops looking at the file when nobody follows it any more. */
export function followPolicyRoutes(path: string, log: Log): PolicyRoutes {
  let tell = (): void => {};
  const file = followFile({
    path,
    kind: 'policy routes',
    absent: [],
    read: policyRoutesFrom,
    log,
    onChange: () => tell(),
  });
  return {
    current: () => file.value,
    follow(onChange) {
      tell = onChange;
      return () => file.stop();
    },
  };
}
