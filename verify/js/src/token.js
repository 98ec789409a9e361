import {verify as verifySignature} from 'node:crypto';

import {VerifyError} from './errors.js';
import {parseObject} from './json.js';

/** @typedef {import('../types/index.js').Claims} Claims */
/** @typedef {import('./keys.js').Key} Key */

/** Bounds what is looked at, in bytes. */
export const maxToken = 8 << 10;

/** The algorithms that sign access tokens. */
const algorithms = ['ES256', 'EdDSA', 'RS256'];

/**
 * Base64url in its one form: no padding, no line breaks, no spare bits. Node's decoder takes all of them; what it read
 * is written again and compared.
 * @param {string} s
 */
export function decode(s) {
  const bytes = Buffer.from(s, 'base64url');
  if (bytes.toString('base64url') !== s) throw new VerifyError('malformed');
  return bytes;
}

/**
 * @typedef {object} Parts
 * @property {string} head
 * @property {Header | null} header
 * @property {Record<string, unknown>} value
 * @property {string} signed
 * @property {Buffer} signature
 */

/**
 * Reads the parts of a token: the form of all three is judged before anything that they say.
 * @param {string} token
 * @param {(head: string) => boolean} known tells of a header's text that it was read before; then header is null
 * @returns {Parts}
 */
export function readParts(token, known) {
  if (typeof token !== 'string' || token.length > maxToken) {
    throw new VerifyError('malformed', {detail: `no string, or longer than ${maxToken} bytes`});
  }
  const first = token.indexOf('.');
  const second = token.indexOf('.', first + 1);
  if (first === -1 || second === -1 || token.includes('.', second + 1)) throw new VerifyError('malformed');
  const head = token.slice(0, first);
  return {
    head,
    header: known(head) ? null : readHeader(head),
    value: parseObject(decode(token.slice(first + 1, second))),
    signed: token.slice(0, second),
    signature: decode(token.slice(second + 1)),
  };
}

/**
 * Reads a header: nothing critical, and of the right types what decides about it.
 * @param {string} head
 */
export function readHeader(head) {
  const header = parseObject(decode(head));
  const {typ = '', alg = '', kid = ''} = header;
  if (Object.hasOwn(header, 'crit')) throw new VerifyError('malformed', {detail: 'a critical header'});
  if (typeof typ !== 'string' || typeof alg !== 'string' || typeof kid !== 'string')
    throw new VerifyError('malformed');
  return {typ, alg, kid};
}

/** @typedef {ReturnType<typeof readHeader>} Header */

/**
 * Accepts the header of an access token, RFC 9068 section 4: its type, an algorithm that signs, a key id.
 * @param {Header} header
 */
export function checkHeader({typ, alg, kid}) {
  if (!/^(application\/)?at\+jwt$/i.test(typ)) throw new VerifyError('type');
  if (kid === '' || !algorithms.includes(alg)) throw new VerifyError('unknown_key');
}

/** What is signed is written here: it is checked at once, and another buffer each time costs more. */
const scratch = Buffer.alloc(maxToken);

/**
 * Checks the signature of the first two parts with their dot.
 * @param {Key} key
 * @param {Parts} parts
 */
export function checkSignature(key, {signed, signature}) {
  // A JWS signature is its two halves, RFC 7518 section 3.4; the split of one that is not 64 bytes would be a guess.
  const right =
    (key.alg !== 'ES256' || signature.length === 64) &&
    verifySignature(key.digest, scratch.subarray(0, scratch.write(signed, 'latin1')), key.input, signature);
  if (!right) throw new VerifyError('signature');
}

/**
 * What is remembered of a token.
 * @typedef {{claims: Claims, expires: number, issued: number}} Parsed times in microseconds
 */

/** The first second of the year 10000: what is beyond is no date. */
const maxDate = 253_402_300_800;

const isText = (/** @type {unknown} */ v) => typeof v === 'string' && v !== '';

const isDate = (/** @type {unknown} */ v) => typeof v === 'number' && v >= 0 && v < maxDate;

const isAudience = (/** @type {unknown} */ v) =>
  typeof v === 'string' || (Array.isArray(v) && v.length > 0 && v.every((one) => typeof one === 'string'));

const isStamp = (/** @type {unknown} */ v) => Number.isSafeInteger(v) && Number(v) > 0;

/** @type {[name: string, is: (v: unknown) => boolean][]} */
const required = [
  ['iss', isText],
  ['sub', isText],
  ['aud', isAudience],
  ['exp', isDate],
  ['iat', isDate],
  ['jti', isText],
  ['client_id', isText],
  ['iat_us', isStamp],
];

/** @type {[name: string, is: (v: unknown) => boolean][]} null is not missing */
const optional = [
  ['nbf', isDate],
  ['scope', (v) => typeof v === 'string'],
  ['device_id', isText],
  ['rid', (v) => typeof v === 'string'],
];

/**
 * Reads the claims of a token whose signature was right.
 * @param {Parts} parts
 * @returns {Parsed}
 */
export function readClaims({value}) {
  const missing =
    required.find(([name, is]) => !Object.hasOwn(value, name) || !is(value[name])) ??
    optional.find(([name, is]) => Object.hasOwn(value, name) && !is(value[name]));
  if (missing !== undefined) throw new VerifyError('claims', {detail: missing[0]});
  const claims = /** @type {Claims} */ (value);
  const issued = Math.max(claims.iat, claims.nbf ?? 0);
  return {claims, expires: Math.floor(claims.exp * 1e6), issued: Math.floor(issued * 1e6)};
}
