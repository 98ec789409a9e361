import {createPublicKey} from 'node:crypto';

import {VerifyError} from './errors.js';
import {parseDocument, request, StatusError} from './http.js';
import {checkHeader, decode, readHeader} from './token.js';

/**
 * A public key with the one algorithm it is for, ready for crypto.verify.
 * @typedef {object} Key
 * @property {string} alg
 * @property {string | null} digest
 * @property {{key: import('node:crypto').KeyObject, dsaEncoding?: 'ieee-p1363'}} input
 */

const second = 1e6;

/** How old the keys may become. */
export const keysMaxAge = 300 * second;

/**
 * The least time between two fetches for key ids that are not known: a stream of forged ones costs the issuer no more
 * than that.
 */
export const keysCoolDown = 10 * second;

const maxHeaders = 64;

/** The issuer's published keys. The last good set is kept when a fetch fails. */
export class KeySet {
  /**
   * @param {import('./issuer.js').Issuer} issuer
   * @param {AbortSignal} signal after which no fetch begins
   * @param {{withdrawn: () => void, fetching: () => void, failed: (error: unknown) => void}} tell
   */
  constructor(issuer, signal, tell) {
    this.issuer = issuer;
    this.signal = signal;
    this.tell = tell;
    /** @type {Map<string, Key> | null} */
    this.keys = null;
    /** @type {Map<string, Key>} by the header's exact text: it need not be parsed again */
    this.headers = new Map();
    this.fetched = -Infinity; // the last try, by the monotonic clock
    /** @type {Promise<void> | null} the fetch that is under way */
    this.flight = null;
    this.etag = '';
  }

  /**
   * The key that a header names.
   * @param {string} head
   * @param {import('./token.js').Header | null} header not needed where the text is known
   * @returns {Key | Promise<Key>}
   */
  find(head, header) {
    const known = this.headers.get(head);
    if (known !== undefined) return known;
    const wanted = header ?? readHeader(head);
    checkHeader(wanted);
    return (
      this.lookUp(head, wanted) ??
      this.refresh(keysCoolDown).then(() => {
        const key = this.lookUp(head, wanted);
        if (key !== undefined) return key;
        if (this.keys === null) throw new VerifyError('unavailable', {detail: 'its keys have not been fetched yet'});
        throw new VerifyError('unknown_key');
      })
    );
  }

  /**
   * @param {string} head
   * @param {import('./token.js').Header} header
   */
  lookUp(head, {alg, kid}) {
    const key = this.keys?.get(kid);
    if (key === undefined) return undefined;
    if (key.alg !== alg) throw new VerifyError('unknown_key');
    if (this.headers.size < maxHeaders) this.headers.set(head, key);
    return key;
  }

  /** How old the keys may become: no age at all while there are none. */
  get maxAge() {
    return this.keys === null ? 0 : keysMaxAge;
  }

  /**
   * Fetches the keys unless they were tried less than age ago. One fetch is under way at a time; the others wait for
   * it.
   * @param {number} age
   * @returns {Promise<void>}
   */
  refresh(age) {
    if (this.flight !== null) return this.flight;
    const now = this.issuer.now().mono;
    if (this.signal.aborted || now - this.fetched < age) return Promise.resolve();
    this.fetched = now;
    this.flight = this.fetch()
      .catch((error) => {
        if (this.keys === null) this.fetched = now + second - keysCoolDown; // nothing to keep: try again soon
        this.tell.failed(error);
      })
      .finally(() => {
        this.flight = null;
      });
    return this.flight;
  }

  async fetch() {
    this.tell.fetching();
    const {keys: url} = await this.issuer.metadata(this.signal);
    const headers = new Headers(this.etag === '' ? [] : [['if-none-match', this.etag]]);
    const answer = await request(this.issuer.fetch, url, {headers}, this.signal);
    if (answer.status === 304) return;
    if (answer.status !== 200) throw new StatusError(url, answer.status);
    const keys = parseKeys(answer.text);
    const before = this.keys ?? [];
    this.keys = keys;
    this.etag = answer.headers.get('etag') ?? '';
    this.headers.clear();
    for (const [kid, {alg, input}] of before) {
      const next = keys.get(kid);
      if (next === undefined || next.alg !== alg || !next.input.key.equals(input.key)) this.tell.withdrawn();
    }
  }
}

/**
 * Reads a key set, RFC 7517 section 5, and passes over the keys that it does not understand.
 * @param {string} text
 */
export function parseKeys(text) {
  const {keys: list} = parseDocument(text, 'the key set');
  /** @type {Map<string, Key>} */
  const keys = new Map();
  for (const jwk of Array.isArray(list) ? list : []) {
    const key = parseKey(jwk);
    if (key !== null) keys.set(jwk.kid, key);
  }
  if (keys.size === 0) throw new Error('the key set holds no key that signs access tokens');
  return keys;
}

/**
 * @param {any} jwk
 * @returns {Key | null}
 */
function parseKey(jwk) {
  const {kty, use = 'sig', alg, kid, crv, x, y, n, e} = jwk ?? {};
  if (typeof kid !== 'string' || kid === '' || use !== 'sig') return null;
  try {
    const size = (/** @type {unknown} */ s) => decode(String(s)).length;
    if (kty === 'EC' && crv === 'P-256' && alg === 'ES256' && size(x) === 32 && size(y) === 32) {
      const input = {
        key: createPublicKey({key: {kty, crv, x, y}, format: 'jwk'}),
        dsaEncoding: /** @type {const} */ ('ieee-p1363'),
      };
      return {alg, digest: 'sha256', input};
    }
    if (kty === 'OKP' && crv === 'Ed25519' && alg === 'EdDSA' && size(x) === 32) {
      return {alg, digest: null, input: {key: createPublicKey({key: {kty, crv, x}, format: 'jwk'})}};
    }
    if (kty === 'RSA' && alg === 'RS256' && size(n) >= 256 && size(n) <= 1024 && size(e) > 0 && size(e) <= 4) {
      return {alg, digest: 'sha256', input: {key: createPublicKey({key: {kty, n, e}, format: 'jwk'})}};
    }
  } catch {
    // A key that cannot be read is none.
  }
  return null;
}
