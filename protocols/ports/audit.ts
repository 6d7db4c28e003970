// The audit log: who was let do what, and who was not. NSM concept: none; the reference logs a refusal at most.

/** What was decided about one call. Never holds a token or a key. */
export interface AuditEntry {
  /** `would-deny`: the access policy in audit mode would have refused it, and it was granted. */
  readonly decision: 'granted' | 'denied' | 'would-deny';
  /** `Request`, `Close`, `MonitorConnections`, `Register`, `Unregister`, `Find` and so on; `Connect` for TLS and for greetings on the bus. */
  readonly operation: string;
  /** Component that decided, and its SPIFFE ID. */
  readonly hop: string;
  readonly self: string;
  /** SPIFFE ID that the transport has proven; absent: none. */
  readonly peer?: string;
  /** SPIFFE ID of the first hop of the path; the peer's word where that is not the peer itself. */
  readonly client?: string;
  readonly service?: string;
  readonly connectionId?: string;
  /** Name of the Endpoint or Network Service in a registry. */
  readonly name?: string;
  /** Of a denial. */
  readonly rule?: string;
  readonly expected?: string;
  readonly found?: string;
}

export interface AuditRecord extends AuditEntry {
  /** Calls decided in the same way since the line before, which this one stands for as well. */
  readonly repeated?: number;
  /** It stands for denials about one thing and another, of a peer that has had too many for a line each. */
  readonly isSummary?: true;
}

export interface AuditLog {
  write(record: AuditRecord): void;
}
