// Settings of the network namespace that the process is in.

export interface Sysctl {
  /** `name` below /proc/sys/net, with slashes. Errors: NOT_FOUND (this kernel has none), PERMISSION_DENIED. */
  set(name: string, value: string): void;
}
