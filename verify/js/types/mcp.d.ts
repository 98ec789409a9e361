import type {OAuthTokenVerifier} from '@modelcontextprotocol/sdk/server/auth/provider.js';

import type {Verifier} from './index.js';

/** What `requireBearerAuth` of the MCP SDK takes. The claims are in `authInfo.extra.claims`. */
export function tokenVerifier(verifier: Verifier): OAuthTokenVerifier;
