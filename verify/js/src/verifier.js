import {EventEmitter} from 'node:events';

import {Cache} from './cache.js';
import {Clock, leeway, systemNow} from './clock.js';
import {VerifyError} from './errors.js';
import {Feed} from './feed.js';
import {Issuer} from './issuer.js';
import {KeySet, keysMaxAge} from './keys.js';
import {checkOptions} from './options.js';
import {Revoked} from './revoked.js';
import {checkSignature, readClaims, readParts} from './token.js';

/** @typedef {import('../types/index.js').Claims} Claims */

/**
 * What is remembered of a token: not that it is alive.
 * @typedef {import('./token.js').Parsed & {belongs: import('./revoked.js').Belongs}} Entry
 */

/**
 * What tests put in.
 * @typedef {object} Parts
 * @property {import('./http.js').Fetch} [fetch]
 * @property {() => import('./clock.js').Moment} [now]
 * @property {boolean} [follow]
 */

const upkeepEvery = 60_000;

/** Checks access tokens. Everything that is not in types/index.d.ts is this package's own. */
export class Verifier extends EventEmitter {
  /**
   * Starts following and returns at once. It comes up when the issuer does; until then the policy for stale knowledge
   * decides.
   * @param {import('../types/index.js').Options} options
   * @param {Parts} [parts]
   */
  constructor(options, {fetch = globalThis.fetch, now = systemNow, follow = true} = {}) {
    super();
    this.options = checkOptions(options);
    this.now = now;
    this.clock = new Clock(this.options.bound);
    this.revoked = new Revoked();
    /** @type {Cache<Entry>} */
    this.cache = new Cache(this.options.cacheSize);
    this.counters = {
      verified: 0,
      cached: 0,
      refused: 0,
      expired: 0,
      revoked: 0,
      stale: 0,
      introspected: 0,
      events: 0,
      acks: 0,
      connects: 0,
      keyFetches: 0,
    };
    this.closing = new AbortController();
    this.issuer = new Issuer(this.options, fetch, now);
    this.keys = new KeySet(this.issuer, this.closing.signal, {
      withdrawn: () => this.cache.clear(),
      fetching: () => this.counters.keyFetches++,
      failed: (error) => this.warn("the issuer's keys could not be fetched", error),
    });
    this.feed = new Feed(this);
    /** @type {Promise<void>} */
    this.following = Promise.resolve();
    if (!follow) return;
    this.following = this.feed.follow();
    this.upkeep = setInterval(() => {
      void this.prune();
      void this.keys.refresh(keysMaxAge);
    }, upkeepEvery).unref();
  }

  /** Keeps the index small, and lets requests through between the steps. */
  async prune() {
    for (const _ of this.revoked.prune(() => this.clock.instant(this.now()))) {
      await new Promise((resolve) => {
        setImmediate(resolve);
      });
    }
  }

  /**
   * Checks a token and returns its claims: RFC 9068 section 4, RFC 7519 section 7.2, and the one rule.
   * @param {string} token
   * @returns {Promise<Claims>}
   */
  async verify(token) {
    let entry = this.cache.get(token);
    if (entry !== undefined) {
      this.counters.cached++;
    } else {
      try {
        const parts = readParts(token, (head) => this.keys.headers.has(head));
        const key = this.keys.find(parts.head, parts.header);
        // Nothing waits between a key and what it vouches for: the key may be withdrawn meanwhile.
        entry = this.check(key instanceof Promise ? await key : key, parts);
      } catch (error) {
        this.counters.refused++;
        throw error;
      }
      this.cache.put(token, entry);
    }
    // What changes with time is asked on every call. The issuer's clock counts: its heartbeats carry it.
    const now = this.now();
    const time = this.clock.time(now);
    if (time >= entry.expires) {
      this.counters.expired++;
      throw new VerifyError('expired');
    }
    if (entry.issued > time + leeway) {
      this.counters.refused++;
      throw new VerifyError('not_yet_valid');
    }
    const asked = this.judge(entry.belongs, now, token);
    if (asked !== undefined) await asked;
    return entry.claims;
  }

  /**
   * What needs to be done once for a token, when its key is known: the signature, then the claims.
   * @param {import('./keys.js').Key} key
   * @param {import('./token.js').Parts} parts
   * @returns {Entry}
   */
  check(key, parts) {
    checkSignature(key, parts);
    const parsed = readClaims(parts);
    const {claims} = parsed;
    const audience = typeof claims.aud === 'string' ? [claims.aud] : claims.aud;
    if (claims.iss !== this.options.issuer) throw new VerifyError('issuer');
    if (!audience.includes(this.options.audience)) throw new VerifyError('audience');
    if (Object.hasOwn(claims, 'cnf')) throw new VerifyError('binding');
    return {claims, expires: parsed.expires, issued: parsed.issued, belongs: this.revoked.belongs(claims)};
  }

  /**
   * The one rule and the policy for stale knowledge, for claims that somebody else has verified.
   * @param {Record<string, any>} claims
   * @param {string} [token]
   */
  async assertAlive(claims, token) {
    const {iat_us: stamp, client_id: client, sub, device_id: device} = claims ?? {};
    const complete =
      Number.isInteger(stamp) &&
      stamp > 0 &&
      typeof client === 'string' &&
      client !== '' &&
      typeof sub === 'string' &&
      sub !== '' &&
      (device === undefined || device === null || typeof device === 'string');
    if (!complete) {
      this.counters.refused++;
      throw new VerifyError('claims');
    }
    const belongs = this.revoked.belongs({iat_us: stamp, client_id: client, sub, device_id: device ?? ''});
    await this.judge(belongs, this.now(), token);
  }

  /**
   * @param {import('./revoked.js').Belongs} belongs
   * @param {import('./clock.js').Moment} now
   * @param {string | undefined} token
   */
  judge(belongs, now, token) {
    if (this.revoked.revoked(belongs)) {
      this.counters.revoked++;
      throw new VerifyError('revoked');
    }
    if (this.clock.age(now) > this.clock.bound) return this.whenStale(token);
    this.counters.verified++;
    return undefined;
  }

  /** @param {string | undefined} token */
  async whenStale(token) {
    this.counters.stale++;
    if (this.options.whenStale === 'accept') return;
    if (this.options.whenStale === 'reject' || token === undefined) throw new VerifyError('stale');
    this.counters.introspected++;
    let active;
    try {
      active = await this.issuer.introspect(token);
    } catch (cause) {
      throw new VerifyError('unavailable', {cause});
    }
    if (!active) throw new VerifyError('revoked');
  }

  /** How old the knowledge is, in seconds. */
  staleness() {
    return this.clock.age(this.now()) / 1e6;
  }

  /** The number of the last event that has been applied. */
  seq() {
    return this.feed.seq;
  }

  stats() {
    const now = this.now();
    return {
      ...this.counters,
      entries: this.revoked.entries,
      seq: this.feed.seq,
      staleness: this.clock.age(now) / 1e6,
      clockOffset: (this.clock.time(now) - now.wall) / 1e6,
    };
  }

  /** Ends the feed and waits for it. Afterwards only calls of verify send requests. */
  async close() {
    this.closing.abort(new Error('the verifier was closed'));
    clearInterval(this.upkeep);
    await Promise.all([this.following, this.feed.acknowledging, this.keys.flight]);
  }

  /**
   * Says what an operator should know: to who listens for warnings, else as a warning of the process.
   * @param {string} message
   * @param {unknown} [cause]
   */
  warn(message, cause) {
    if (this.closing.signal.aborted) return;
    const why =
      cause instanceof Error
        ? `: ${cause.message}${cause.cause instanceof Error ? ` (${cause.cause.message})` : ''}`
        : '';
    const warning = new Error(`curfew-verify: ${message}${why}`, {cause});
    warning.name = 'CurfewWarning';
    if (!this.tell('warning', warning)) process.emitWarning(warning);
  }

  /**
   * Emits an event. A listener that throws must not harm the feed: its error is the process's, as with any emitter.
   * @param {'revocation' | 'warning'} name
   * @param {unknown} value
   */
  tell(name, value) {
    try {
      return this.emit(name, value);
    } catch (error) {
      process.nextTick(() => {
        throw error;
      });
      return true;
    }
  }
}
