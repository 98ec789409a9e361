import type {MiddlewareHandler} from 'hono';

import type {Claims, Verifier} from './index.js';

/**
 * Lets only requests through whose token is alive and carries every one of the scopes, with its claims in
 * `c.get('auth')`.
 */
export function requireToken(verifier: Verifier, ...scopes: string[]): MiddlewareHandler<{Variables: {auth: Claims}}>;
