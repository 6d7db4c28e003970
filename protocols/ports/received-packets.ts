// Packets that an interface of the process's own network namespace has received.

/** Undefined where there is no interface of that name. Errors: UNAVAILABLE. */
export type ReceivedPackets = (interfaceName: string) => Promise<bigint | undefined>;
