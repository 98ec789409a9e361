import {STATUS_CODES} from 'node:http';

import {VerifyError} from './errors.js';

/** @typedef {import('../types/index.js').Verifier} Verifier */
/** @typedef {import('../types/index.js').Claims} Claims */

/**
 * The values of Authorization as they came: Node's headers show the first one only.
 * @param {readonly string[]} rawHeaders names and values in turns
 */
export function authorizations(rawHeaders) {
  return rawHeaders.filter((_, i) => i % 2 === 1 && rawHeaders[i - 1].toLowerCase() === 'authorization');
}

/**
 * Checks the token of a request (RFC 6750 section 2.1), looked for in the Authorization header alone, and its scopes.
 * @param {Verifier} verifier
 * @param {readonly string[]} values of the Authorization headers
 * @param {readonly string[]} scopes
 * @returns {Promise<Claims>}
 */
export async function authorize(verifier, values, scopes) {
  if (values.length > 1) throw new VerifyError('request');
  const [, token] = /^bearer +([^ ].*)$/i.exec(values[0] ?? '') ?? [];
  if (token === undefined) throw new VerifyError('no_token');
  const claims = await verifier.verify(token.trimEnd());
  const granted = (claims.scope ?? '').split(' ');
  if (!scopes.every((scope) => granted.includes(scope))) throw new VerifyError('scope', {scopes: [...scopes]});
  return claims;
}

/** @type {Record<number, string>} */
const codes = {
  400: 'invalid_request',
  401: 'invalid_token',
  403: 'insufficient_scope',
  503: 'temporarily_unavailable',
};

/**
 * The answer to a request whose authorization failed: status, challenge and a problem document (RFC 9457) that says no
 * more than the challenge.
 * @param {VerifyError} error
 */
export function refusal({code, status, challenge}) {
  /** @type {Record<string, string>} */
  const headers = {'Content-Type': 'application/problem+json', 'Cache-Control': 'no-store'};
  if (challenge !== null) headers['WWW-Authenticate'] = challenge;
  if (status === 503) headers['Retry-After'] = '2';
  const problem = {
    type: 'about:blank',
    title: STATUS_CODES[status],
    status,
    code: code === 'no_token' ? 'token_required' : codes[status],
  };
  return {status, headers, body: `${JSON.stringify(problem)}\n`};
}

/**
 * Refuses to guard a route with what is no scope, when the route is made and not when somebody comes.
 * @param {readonly unknown[]} scopes
 */
export function checkScopes(scopes) {
  // RFC 6749 section 3.3; what is checked here is written into a header.
  const wrong = scopes.find((scope) => typeof scope !== 'string' || !/^[\x21\x23-\x5b\x5d-\x7e]+$/.test(scope));
  if (wrong !== undefined) throw new TypeError(`requireToken: ${JSON.stringify(wrong)} is no scope`);
}
