import type {onRequestAsyncHookHandler} from 'fastify';

import type {Claims, Verifier} from './index.js';

declare module 'fastify' {
  interface FastifyRequest {
    /** The claims of the token, where requireToken guards the route. */
    auth?: Claims;
  }
}

/**
 * A hook for `onRequest`: lets only requests through whose token is alive and carries every one of the scopes, with its
 * claims in `request.auth`.
 */
export function requireToken(verifier: Verifier, ...scopes: string[]): onRequestAsyncHookHandler;
