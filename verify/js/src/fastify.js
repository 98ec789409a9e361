import {authorizations, authorize, checkScopes, refusal} from './bearer.js';
import {VerifyError} from './errors.js';

/** @type {typeof import('../types/fastify.js').requireToken} */
export function requireToken(verifier, ...scopes) {
  checkScopes(scopes);
  return async (request, reply) => {
    try {
      request.auth = await authorize(verifier, authorizations(request.raw.rawHeaders), scopes);
    } catch (error) {
      if (!(error instanceof VerifyError)) throw error;
      const {status, headers, body} = refusal(error);
      // As bytes: of a text Fastify would say its charset, which JSON has not.
      return reply.code(status).headers(headers).send(Buffer.from(body));
    }
  };
}
