// The public face of spiffe-ts: SPIFFE identities for Node. What a workload needs stands first, then what verifiers
// need, then the development server. README.md beside it shows how to use each.

export { endpointVariable, parseEndpoint } from './endpoint-address.ts';
export { createIdentitySource, type IdentitySourceOptions } from './identity-source.ts';
export {
  presentedChain,
  type TlsMaterial,
  tlsMaterial,
} from '../../protocols/spiffe/tls-material.ts';

export { verifyX509Svid, type X509Bundles } from './verify-x509-svid.ts';
export { type JwtBundles, type JwtKeys, readJwtKeys, verifyJwtSvid } from './verify-jwt-svid.ts';
export { signPathToken, verifyPathToken } from './path-tokens.ts';
export { BundleStore, type TrustBundle } from './bundle-store.ts';

export { createWorkloadApiClient, type WorkloadApiClient } from './workload-api-client.ts';
export { type X509BundlesWatch, watchX509Bundles } from './x509-bundles-watch.ts';

export {
  createIdentityServer,
  type IdentityServer,
  type IdentityServerOptions,
} from './development/identity-server.ts';
export { keepIdentityFiles, readSavedAuthority } from './development/identity-files.ts';
