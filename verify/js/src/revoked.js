import {randomBytes} from 'node:crypto';

/** @typedef {{server: number, local: number}} Instant seconds by the issuer's clock and by ours */

/**
 * What a revocation ends: tokens issued at or before micros. It is forgotten when the last of them has expired by the
 * issuer's clock, but not before held by ours: the issuer's clock may jump ahead, and back.
 * @typedef {{micros: number, expires: number, held: number}} ValidFrom
 */

/** @typedef {Int32Array} Key a subject's UUID as four words, and its keyed hash */

const forever = 2 ** 32 - 1;

/**
 * @param {number} micros by the issuer's clock
 * @param {number} expires likewise; 0 where it is missing
 * @param {Instant} now
 * @returns {ValidFrom}
 */
export function newValidFrom(micros, expires, now) {
  if (expires <= 0 || expires / 1e6 >= forever - 1) return {micros, expires: forever, held: forever};
  // An event comes after its commit, and valid_from is at most a second ahead of that. The rest is for rounding.
  const life = Math.floor(Math.max(0, expires - micros) / 1e6) + 3;
  return {micros, expires: Math.floor(expires / 1e6) + 1, held: Math.min(now.local + life, forever)};
}

/**
 * @param {ValidFrom} v
 * @param {Instant} now
 */
const over = (v, now) => v.expires <= now.server && v.held <= now.local;

/**
 * @param {ValidFrom | undefined} a
 * @param {ValidFrom} b
 */
const newest = (a, b) =>
  a === undefined
    ? b
    : {
        micros: Math.max(a.micros, b.micros),
        expires: Math.max(a.expires, b.expires),
        held: Math.max(a.held, b.held),
      };

const tableMin = 8;
const dash = 0x2d;

/**
 * A hash table with open addressing. Nothing is ever taken out of it: it is replaced by one without the dead. A slot is
 * 33 bytes, and between a half and three quarters of the slots are in use: 44 to 66 bytes an entry.
 */
class Table {
  /** @param {number} slots */
  constructor(slots) {
    this.slots = Math.max(slots, tableMin);
    // 0 is an empty slot, else some bits of the hash: a stranger is seen without the rest.
    this.tags = new Uint8Array(this.slots);
    this.keys = new Int32Array(4 * this.slots);
    this.micros = new Float64Array(this.slots);
    this.expires = new Uint32Array(this.slots);
    this.held = new Uint32Array(this.slots);
    this.used = 0;
  }

  /**
   * Finds a key's place, or the empty one where it would go.
   * @param {Key} key
   */
  slot(key) {
    const {tags, keys, slots} = this;
    const a = key[0],
      b = key[1],
      c = key[2],
      d = key[3],
      hash = key[4];
    const tag = tagOf(hash);
    for (let at = Math.floor(((hash >>> 0) / 2 ** 32) * slots); ;) {
      const found = tags[at];
      if (found === 0) return at;
      if (found === tag) {
        const k = at << 2;
        if (keys[k] === a && keys[k + 1] === b && keys[k + 2] === c && keys[k + 3] === d) return at;
      }
      if (++at === slots) at = 0;
    }
  }

  /** @param {Key} key */
  get(key) {
    const at = this.slot(key);
    return this.tags[at] === 0 ? 0 : this.micros[at];
  }

  /**
   * @param {Key} key
   * @param {ValidFrom} v
   */
  put(key, v) {
    const at = this.slot(key);
    if (this.tags[at] === 0) {
      this.tags[at] = tagOf(key[4]);
      this.keys.set(key.subarray(0, 4), at << 2);
      this.used++;
    }
    this.micros[at] = Math.max(this.micros[at], v.micros);
    this.expires[at] = Math.max(this.expires[at], v.expires);
    this.held[at] = Math.max(this.held[at], v.held);
  }

  /** @param {number} i */
  at(i) {
    return {micros: this.micros[i], expires: this.expires[i], held: this.held[i]};
  }

  /** One more would make the ways long. */
  full() {
    return this.used + 1 > this.slots * 0.75;
  }

  /** @param {Instant} now */
  dead(now) {
    let n = 0;
    for (let i = 0; i < this.slots; i++) {
      if (this.tags[i] !== 0 && this.expires[i] <= now.server && this.held[i] <= now.local) n++;
    }
    return n;
  }

  /**
   * A table of the entries that matter, with room for as many again.
   * @param {Instant} now
   * @param {KeyedHash} hash
   */
  without(now, hash) {
    const next = new Table(2 * (this.used - this.dead(now)) + 2);
    const key = new Int32Array(5);
    for (let i = 0; i < this.slots; i++) {
      const v = this.at(i);
      if (this.tags[i] === 0 || over(v, now)) continue;
      key.set(this.keys.subarray(i << 2, (i << 2) + 4));
      key[4] = hash.of(key);
      next.put(key, v);
    }
    return next;
  }
}

// A table is one of 64 by the lowest bits of the hash, so that one that grows holds the event loop up for
// milliseconds only.
const shardBits = 6;
const shards = 1 << shardBits;

/** @param {number} hash */
const tagOf = (hash) => ((hash >>> shardBits) & 0xff) | 1;

/** The subjects of one level that are UUIDs. */
class Subjects {
  /** @param {KeyedHash} hash */
  constructor(hash) {
    this.hash = hash;
    this.tables = Array.from({length: shards}, () => new Table(tableMin));
  }

  /** @param {Key} key */
  get(key) {
    return this.tables[key[4] & (shards - 1)].get(key);
  }

  /**
   * @param {Key} key
   * @param {ValidFrom} v
   * @param {Instant} now
   */
  put(key, v, now) {
    const i = key[4] & (shards - 1);
    if (this.tables[i].full()) this.tables[i] = this.tables[i].without(now, this.hash);
    this.tables[i].put(key, v);
  }

  /**
   * Replaces table i, if half of it is dead.
   * @param {number} i
   * @param {Instant} now
   */
  prune(i, now) {
    const table = this.tables[i];
    const dead = table.dead(now);
    if (dead > 0 && dead * 2 >= table.used) this.tables[i] = table.without(now, this.hash);
  }

  get used() {
    return this.tables.reduce((sum, table) => sum + table.used, 0);
  }
}

/** HalfSipHash-1-3 of a UUID under a random key: subjects may be chosen by strangers. */
class KeyedHash {
  constructor() {
    const secret = randomBytes(8);
    this.k0 = secret.readInt32LE(0);
    this.k1 = secret.readInt32LE(4);
  }

  /** @param {Key} key whose first four words are set */
  of(key) {
    let v0 = this.k0,
      v1 = this.k1,
      v2 = this.k0 ^ 0x6c796765,
      v3 = this.k1 ^ 0x74656462;
    const round = () => {
      v0 = (v0 + v1) | 0;
      v1 = ((v1 << 5) | (v1 >>> 27)) ^ v0;
      v0 = (v0 << 16) | (v0 >>> 16);
      v2 = (v2 + v3) | 0;
      v3 = ((v3 << 8) | (v3 >>> 24)) ^ v2;
      v0 = (v0 + v3) | 0;
      v3 = ((v3 << 7) | (v3 >>> 25)) ^ v0;
      v2 = (v2 + v1) | 0;
      v1 = ((v1 << 13) | (v1 >>> 19)) ^ v2;
      v2 = (v2 << 16) | (v2 >>> 16);
    };
    for (let i = 0; i < 4; i++) {
      v3 ^= key[i];
      round();
      v0 ^= key[i];
    }
    v3 ^= 16 << 24; // the length
    round();
    v0 ^= 16 << 24;
    v2 ^= 0xff;
    round();
    round();
    round();
    return v1 ^ v3;
  }
}

/** What a character is worth in hexadecimal, lower case only; 255 where it is no digit. */
const hexDigits = new Uint8Array(256).fill(255);
[...'0123456789abcdef'].forEach((c, value) => {
  hexDigits[c.charCodeAt(0)] = value;
});

/**
 * What a token belongs to, as the index looks it up. An id that is no UUID has no key.
 * @typedef {object} Belongs
 * @property {number} issued iat_us
 * @property {string} client
 * @property {string | null} device none in a client's own token
 * @property {string} user
 * @property {Key | null} deviceKey
 * @property {Key | null} userKey
 */

/** The newest valid_from of each subject that was revoked and may still matter, at four levels. */
export class Revoked {
  constructor() {
    this.hash = new KeyedHash();
    this.devices = new Subjects(this.hash);
    this.users = new Subjects(this.hash);
    /** @type {Map<string, ValidFrom>} */
    this.clients = new Map();
    /** @type {Map<string, ValidFrom>} devices and users that are no UUID, by level and name */
    this.others = new Map();
    /** @type {ValidFrom | undefined} */
    this.everyone = undefined;
  }

  /**
   * Reads the canonical form, in lower case only: one subject, one string.
   * @param {string} s
   * @returns {Key | null}
   */
  key(s) {
    if (s.length !== 36) return null;
    const key = new Int32Array(5);
    for (let i = 0, digits = 0; i < 36; i++) {
      const c = s.charCodeAt(i);
      if (i === 8 || i === 13 || i === 18 || i === 23) {
        if (c !== dash) return null;
        continue;
      }
      const value = c < 256 ? hexDigits[c] : 255;
      if (value === 255) return null;
      key[digits >> 3] = (key[digits >> 3] << 4) | value;
      digits++;
    }
    key[4] = this.hash.of(key);
    return key;
  }

  /**
   * @param {{iat_us: number, client_id: string, sub: string, device_id?: string}} claims
   * @returns {Belongs}
   */
  belongs({iat_us: issued, client_id: client, sub: user, device_id: device = ''}) {
    return {
      issued,
      client,
      user,
      device: device === '' ? null : device,
      deviceKey: device === '' ? null : this.key(device),
      userKey: this.key(user),
    };
  }

  /**
   * Notes an event. Applying one twice, or an older one, changes nothing.
   * @param {string} level
   * @param {string} subject
   * @param {ValidFrom} v
   * @param {Instant} now
   */
  apply(level, subject, v, now) {
    if (v.micros <= 0) return;
    if (level === 'everyone') {
      this.everyone = newest(this.everyone, v);
      return;
    }
    if (level === 'client') {
      this.clients.set(subject, newest(this.clients.get(subject), v));
      return;
    }
    const key = this.key(subject);
    if (key !== null && level === 'device') this.devices.put(key, v, now);
    else if (key !== null && level === 'user') this.users.put(key, v, now);
    else this.others.set(`${level} ${subject}`, newest(this.others.get(`${level} ${subject}`), v));
  }

  /**
   * The one rule.
   * @param {Belongs} t
   */
  revoked(t) {
    if (this.everyone !== undefined && t.issued <= this.everyone.micros) return true;
    if (this.clients.size > 0 && t.issued <= (this.clients.get(t.client)?.micros ?? 0)) return true;
    // Each where apply has put it.
    if (t.deviceKey !== null) {
      if (t.issued <= this.devices.get(t.deviceKey)) return true;
    } else if (t.device !== null && t.issued <= this.other('device', t.device)) {
      return true;
    }
    return t.issued <= (t.userKey !== null ? this.users.get(t.userKey) : this.other('user', t.user));
  }

  /**
   * @param {string} level
   * @param {string} subject
   */
  other(level, subject) {
    return this.others.size === 0 ? 0 : (this.others.get(`${level} ${subject}`)?.micros ?? 0);
  }

  /**
   * Forgets what ends no token any more, in steps of some milliseconds.
   * @param {() => Instant} now
   */
  *prune(now) {
    for (let i = 0; i < shards; i++) {
      this.devices.prune(i, now());
      this.users.prune(i, now());
      yield;
    }
    this.pruneMaps(now());
  }

  /** @param {Instant} now */
  pruneMaps(now) {
    for (const map of [this.clients, this.others]) {
      for (const [subject, v] of map) if (over(v, now)) map.delete(subject);
    }
    if (this.everyone !== undefined && over(this.everyone, now)) this.everyone = undefined;
  }

  get entries() {
    return (
      this.devices.used +
      this.users.used +
      this.clients.size +
      this.others.size +
      (this.everyone === undefined ? 0 : 1)
    );
  }
}
