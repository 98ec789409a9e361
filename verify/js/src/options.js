import {randomInt} from 'node:crypto';
import {hostname} from 'node:os';

/** @typedef {Required<import('../types/index.js').Options>} Options */

const names = ['issuer', 'clientId', 'clientSecret', 'audience', 'subscriber', 'bound', 'whenStale', 'cacheSize'];

const policies = ['introspect', 'reject', 'accept'];

/**
 * Checks the options, and puts in the defaults.
 * @param {import('../types/index.js').Options} given
 * @returns {Options}
 */
export function checkOptions(given) {
  const {
    issuer,
    clientId,
    clientSecret,
    audience = issuer,
    subscriber = defaultSubscriber(hostname()),
    bound = 30,
    whenStale = 'introspect',
    cacheSize = 10_000,
  } = given;
  const unknown = Object.keys(given).find((name) => !names.includes(name));
  // A misspelt whenStale would be a policy that its owner did not choose.
  if (unknown !== undefined) throw new TypeError(`createVerifier: there is no option ${unknown}`);
  checkIssuer(issuer);
  for (const [name, value] of Object.entries({clientId, clientSecret, audience})) {
    if (typeof value !== 'string' || value === '') throw new TypeError(`createVerifier: ${name} is missing`);
  }
  if (typeof subscriber !== 'string' || !/^[A-Za-z0-9._-]{1,64}$/.test(subscriber)) {
    throw new TypeError('createVerifier: subscriber takes 1 to 64 letters, digits, dots, dashes and underscores');
  }
  if (typeof bound !== 'number' || !(bound > 0 && bound < Infinity)) {
    throw new TypeError('createVerifier: bound takes a number of seconds');
  }
  if (!policies.includes(whenStale)) throw new TypeError(`createVerifier: whenStale takes ${policies.join(', ')}`);
  if (!Number.isSafeInteger(cacheSize) || cacheSize < 1) {
    throw new TypeError('createVerifier: cacheSize takes a number of tokens');
  }
  return {issuer, clientId, clientSecret, audience, subscriber, bound, whenStale, cacheSize};
}

/** @param {unknown} issuer */
function checkIssuer(issuer) {
  const url = typeof issuer === 'string' && URL.canParse(issuer) ? new URL(issuer) : null;
  const usable =
    url !== null &&
    ['http:', 'https:'].includes(url.protocol) &&
    url.username === '' &&
    url.password === '' &&
    !/[?#]/.test(String(issuer));
  if (!usable)
    throw new TypeError('createVerifier: issuer takes an absolute http or https URL without query and fragment');
}

const letters = 'ABCDEFGHIJKLMNOPQRSTUVWXYZ234567';

/**
 * No other process's name: of containers the process ids are the same, and so may be the host names. The end of a
 * host's name tells pods apart.
 * @param {string} host
 */
export function defaultSubscriber(host) {
  const random = Array.from({length: 13}, () => letters[randomInt(letters.length)]).join('');
  return `${host.replace(/[^A-Za-z0-9._-]/g, '-').slice(-50)}-${random}`;
}
