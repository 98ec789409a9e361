import {authorize, checkScopes, refusal} from './bearer.js';
import {VerifyError} from './errors.js';

/** @type {typeof import('../types/hono.js').requireToken} */
export function requireToken(verifier, ...scopes) {
  checkScopes(scopes);
  return async (c, next) => {
    const header = c.req.raw.headers.get('authorization');
    try {
      // Several headers come as one with commas between, which no token has.
      c.set('auth', await authorize(verifier, header === null ? [] : header.split(','), scopes));
    } catch (error) {
      if (!(error instanceof VerifyError)) throw error;
      const {status, headers, body} = refusal(error);
      return new Response(body, {status, headers});
    }
    await next();
  };
}
