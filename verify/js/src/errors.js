/** @typedef {import('../types/index.js').Code} Code */

/** @type {Record<Code, string>} */
const messages = {
  no_token: 'the request has no access token',
  request: 'the request has more than one Authorization header',
  malformed: 'the token is malformed',
  type: 'the token is not an access token',
  unknown_key: "the token's key is not known",
  signature: "the token's signature is wrong",
  claims: 'a required claim is missing',
  issuer: 'the token is of another issuer',
  audience: 'the token is for another audience',
  binding: 'the token is bound to a key, which nothing here checks',
  expired: 'the token has expired',
  not_yet_valid: 'the token is from the future',
  revoked: 'the token was signed out',
  stale: 'the revocation feed is silent for too long',
  unavailable: 'the issuer cannot be reached',
  scope: 'the token lacks a scope',
};

/** @type {Partial<Record<Code, number>>} */
const statuses = {request: 400, scope: 403, stale: 503, unavailable: 503};

/**
 * The WWW-Authenticate of an answer, RFC 6750 section 3. A bare one where there was no token, none where it is not the
 * token's fault.
 * @param {Code} code
 * @param {string[]} scopes
 */
function challenge(code, scopes) {
  switch (code) {
    case 'no_token':
      return 'Bearer';
    case 'request':
      return 'Bearer error="invalid_request"';
    case 'scope':
      return `Bearer error="insufficient_scope", scope="${scopes.join(' ')}"`;
    case 'stale':
    case 'unavailable':
      return null;
    default:
      return 'Bearer error="invalid_token"';
  }
}

/** Why a token was not accepted. */
export class VerifyError extends Error {
  /**
   * @param {Code} code
   * @param {{cause?: unknown, detail?: string, scopes?: string[]}} [more]
   */
  constructor(code, {cause, detail, scopes = []} = {}) {
    super(detail === undefined ? messages[code] : `${messages[code]}: ${detail}`, cause === undefined ? {} : {cause});
    this.name = 'VerifyError';
    this.code = code;
    this.status = statuses[code] ?? 401;
    this.challenge = challenge(code, scopes);
  }
}
