// How often a wire under chaos is asked for a sign of life.

/** 1,000 packets a second, in each direction. */
export const intervalMs = 1;
