import {authorizations, authorize, checkScopes, refusal} from './bearer.js';
import {VerifyError} from './errors.js';

/** @type {typeof import('../types/express.js').requireToken} */
export function requireToken(verifier, ...scopes) {
  checkScopes(scopes);
  return async (req, res, next) => {
    try {
      req.auth = await authorize(verifier, authorizations(req.rawHeaders), scopes);
    } catch (error) {
      if (!(error instanceof VerifyError)) return next(error);
      const {status, headers, body} = refusal(error);
      res.writeHead(status, headers).end(body);
      return;
    }
    next();
  };
}
