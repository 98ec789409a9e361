import {isUtf8} from 'node:buffer';

import {VerifyError} from './errors.js';

const quote = 0x22;
const colon = 0x3a;
const backslash = 0x5c;

/** The levels that an object may have, itself among them. */
const maxDepth = 32;

/**
 * Reads a JSON object as RFC 8259 has it and stricter: valid UTF-8, no member twice at any depth. JSON.parse keeps the
 * last of two, another reader the first: who checks and who uses a token must not see different ones. All of it is
 * frozen.
 * @param {Buffer} bytes
 * @returns {Record<string, unknown>}
 */
export function parseObject(bytes) {
  if (!isUtf8(bytes)) throw new VerifyError('malformed');
  const text = bytes.toString('utf8');
  /** @type {unknown} */
  let value;
  try {
    value = JSON.parse(text);
  } catch {
    throw new VerifyError('malformed');
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw new VerifyError('malformed');
  if (freeze(value, text.includes('\\u')) !== countMembers(text)) {
    throw new VerifyError('malformed', {detail: 'a member comes twice'});
  }
  return /** @type {Record<string, unknown>} */ (value);
}

/**
 * Counts the members written in a text that JSON.parse has accepted: its colons outside of strings.
 * @param {string} text
 */
function countMembers(text) {
  let members = 0;
  for (let i = 0; i < text.length; i++) {
    const c = text.charCodeAt(i);
    if (c === quote) i = endOfString(text, i);
    else if (c === colon) members++;
  }
  return members;
}

/**
 * The closing quote of the string that opens at i.
 * @param {string} text
 * @param {number} i
 */
function endOfString(text, i) {
  for (let end = text.indexOf('"', i + 1); ; end = text.indexOf('"', end + 1)) {
    let before = end;
    while (text.charCodeAt(before - 1) === backslash) before--;
    if ((end - before) % 2 === 0) return end;
  }
}

/**
 * Freezes a value and all in it, and counts the members that it has. Throws when it nests too deep, or when a string is
 * half a pair of surrogates, which is no character (RFC 7493 section 2.1).
 * @param {object} value
 * @param {boolean} escapes whether the text has escapes that may make such a half
 */
function freeze(value, escapes) {
  let members = 0;
  let depth = 1;
  for (let level = [value]; level.length > 0; depth++) {
    if (depth > maxDepth) throw new VerifyError('malformed', {detail: `more than ${maxDepth} levels`});
    const next = [];
    for (const object of level) {
      const values = Object.values(Object.freeze(object));
      if (!Array.isArray(object)) members += values.length;
      if (escapes && !Object.keys(object).every(wellFormed)) throw new VerifyError('malformed');
      for (const v of values) {
        if (typeof v === 'object' && v !== null) next.push(v);
        else if (escapes && !wellFormed(v)) throw new VerifyError('malformed');
      }
    }
    level = next;
  }
  return members;
}

/** @param {unknown} v */
const wellFormed = (v) => typeof v !== 'string' || !/\p{Surrogate}/u.test(v);
