// What probers and those who start them agree on.

/** How often a wire is asked for a sign of life: 1,000 packets a second, in each direction. */
export const intervalMs = 1;

/** UDP, of both ends. */
export const probePort = 7_007;

/** TCP, of an Endpoint's service. */
export const servicePort = 7_008;
