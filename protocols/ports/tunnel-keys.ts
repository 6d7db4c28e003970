// What a forwarder proves itself by at the other end of a tunnel, and what its data plane keeps secret for it.
// Invariant: a private key leaves the process that has it only into its data plane; whoever negotiates knows public ones.

export interface TunnelKeys {
  /**
   * Base64 of the public key of the WireGuard key pair of that name; one pair per name, the same in every life of the
   * forwarder.
   */
  wireguardPublicKey(name: string): string;
  /**
   * Base64 of the forwarder's certificate for the IPsec tunnel of that name (DER); the same in every life of the forwarder.
   * All are of one key, and no two begin alike. Absent where it makes no IPsec tunnels.
   */
  readonly ipsecCertificate?: (name: string) => string;
}

/** For a data plane. Never log it. */
export interface TunnelSecrets {
  /** 32 bytes. */
  wireguardPrivateKey(name: string): Uint8Array;
  /** Unencrypted PKCS#8 DER of the key of every `ipsecCertificate`. */
  readonly ipsecPrivateKey?: Uint8Array;
}
