import {InvalidTokenError, ServerError} from '@modelcontextprotocol/sdk/server/auth/errors.js';

import {VerifyError} from './errors.js';

/** @type {typeof import('../types/mcp.js').tokenVerifier} */
export function tokenVerifier(verifier) {
  return {
    async verifyAccessToken(token) {
      try {
        const claims = await verifier.verify(token);
        return {
          token,
          clientId: claims.client_id,
          scopes: (claims.scope ?? '').split(' ').filter((scope) => scope !== ''),
          expiresAt: claims.exp,
          ...resource(claims.aud),
          extra: {claims},
        };
      } catch (error) {
        if (!(error instanceof VerifyError)) throw error;
        throw error.status === 401 ? new InvalidTokenError(error.message) : new ServerError(error.message);
      }
    },
  };
}

/**
 * The resource that a token is for, RFC 8707, where it is for one.
 * @param {string | readonly string[]} audience
 */
function resource(audience) {
  const [only, ...others] = [audience].flat();
  return others.length === 0 && URL.canParse(only) ? {resource: new URL(only)} : {};
}
