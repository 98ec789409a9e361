import type {IncomingMessage, ServerResponse} from 'node:http';

import type {Claims, Verifier} from './index.js';

declare global {
  namespace Express {
    interface Request {
      /** The claims of the token, where requireToken guards the route. */
      auth?: Claims;
    }
  }
}

/**
 * Lets only requests through whose token is alive and carries every one of the scopes, with its claims in `req.auth`.
 */
export function requireToken(
  verifier: Verifier,
  ...scopes: string[]
): (req: IncomingMessage & {auth?: Claims}, res: ServerResponse, next: (error?: unknown) => void) => Promise<void>;
