import {Anchor, leeway, maxTime} from './clock.js';
import {EventReader} from './events.js';
import {bounded, chunks, parseDocument} from './http.js';
import {newValidFrom} from './revoked.js';

/** @typedef {import('./verifier.js').Verifier} Verifier */

/** How long a stream may say nothing, in milliseconds; heartbeats come at least every 15 s. */
const silence = 20_000;
const backOffMin = 100;
const backOffMax = 10_000;
const backOffMaxAck = 5_000;
/** How long a stream lives before it counts as one that works, in microseconds. */
const provedAfter = 3e6;

/** The server ended the stream in good order; go on at once. */
class Resume extends Error {}

/** Keeps the stream open, applies what it says, and acknowledges it. */
export class Feed {
  /** @param {Verifier} verifier */
  constructor(verifier) {
    this.verifier = verifier;
    this.signal = verifier.closing.signal;
    this.seq = 0; // everything up to here has been applied
    this.applied = false; // there is something to acknowledge
    /** @type {Promise<void> | null} the acknowledgements that are under way */
    this.acknowledging = null;
    this.wrongClock = false; // has been said
  }

  /** Reads one stream after another. After a fault it waits, longer each time and never in step with others. */
  async follow() {
    const {verifier, signal} = this;
    for (let wait = backOffMin; !signal.aborted;) {
      await verifier.keys.refresh(verifier.keys.maxAge);
      const stream = new Stream(this);
      const began = verifier.now().mono;
      const fault = await this.read(stream).catch((/** @type {unknown} */ error) => error);
      if (signal.aborted) return;
      // An answer of 200 proves nothing, anybody's portal gives it; a server may also end every stream in good order.
      if (stream.anchor.first !== 0 && verifier.now().mono - began >= provedAfter) {
        wait = backOffMin;
        if (fault instanceof Resume) continue;
      }
      verifier.warn('the revocation feed is interrupted', fault);
      await pause(wait, signal);
      wait = Math.min(2 * wait, backOffMax);
    }
  }

  /**
   * Reads a stream to its end, which is always a fault of some kind.
   * @param {Stream} stream
   */
  read(stream) {
    const {verifier} = this;
    return bounded(this.signal, silence, 'the stream is silent', async (signal, watchdog) => {
      const reader = stream.reader(() => watchdog.refresh());
      const answer = await verifier.issuer.openFeed(this.seq, signal, () => stream.open());
      verifier.counters.connects++;
      for await (const bytes of chunks(answer, signal)) reader.push(bytes);
      throw new Error('the stream ended');
    });
  }

  /**
   * Everything up to seq has been applied.
   * @param {number} seq
   */
  advance(seq) {
    const known = this.seq === seq && this.verifier.clock.made !== null;
    this.seq = seq;
    if (known) return;
    this.applied = true;
    if (this.acknowledging !== null) return;
    this.acknowledging = this.acknowledge().finally(() => {
      this.acknowledging = null;
    });
  }

  /** Tells the issuer what has been applied: one request at a time, always the newest number. */
  async acknowledge() {
    const {verifier, signal} = this;
    for (let wait = backOffMin; this.applied && !signal.aborted;) {
      this.applied = false;
      try {
        await verifier.issuer.acknowledge(this.seq, signal);
        verifier.counters.acks++;
        wait = backOffMin;
      } catch (error) {
        this.applied = true;
        if (signal.aborted) return;
        verifier.warn('an acknowledgement was not taken; it is sent again', error);
        await pause(wait, signal);
        wait = Math.min(2 * wait, backOffMaxAck);
      }
    }
  }
}

/** One reading of the feed. */
export class Stream {
  /** @param {Feed} feed */
  constructor(feed) {
    this.feed = feed;
    this.anchor = new Anchor(feed.verifier.now());
  }

  /** The request is being sent. */
  open() {
    this.anchor = new Anchor(this.feed.verifier.now());
  }

  /** @param {() => void} [alive] */
  reader(alive) {
    return new EventReader((kind, data) => this.handle(kind, data), alive);
  }

  /**
   * Takes one event. What it throws ends the stream.
   * @param {string} kind
   * @param {string} data
   */
  handle(kind, data) {
    switch (kind) {
      case 'revocation':
        return this.revocation(parseDocument(data, 'an event'));
      case 'heartbeat':
        return this.heartbeat(parseDocument(data, 'a heartbeat'));
      case 'close':
        return this.close(parseDocument(data, 'a close'));
    }
  }

  /** @param {Record<string, unknown>} event */
  revocation(event) {
    const {feed} = this;
    const {verifier} = feed;
    const {level, subject = null} = event;
    const seq = integer(event, 'seq'),
      validFrom = integer(event, 'valid_from'),
      expires = integer(event, 'expires_at');
    if (typeof level !== 'string' || (subject !== null && typeof subject !== 'string')) {
      throw new Error('an event that cannot be read');
    }
    const now = verifier.clock.instant(verifier.now());
    verifier.revoked.apply(level, subject ?? '', newValidFrom(validFrom, expires, now), now);
    verifier.counters.events++;
    feed.advance(Math.max(seq, feed.seq));
    verifier.tell('revocation', event);
  }

  /** @param {Record<string, unknown>} beat */
  heartbeat(beat) {
    const {feed} = this;
    const {verifier} = feed;
    const seq = integer(beat, 'seq'),
      time = integer(beat, 'time');
    if (typeof beat.seq !== 'number') throw new Error('a heartbeat that says not how far it goes');
    if (time <= 0 || time >= maxTime) throw new Error(`a heartbeat that says not when it was made: time ${time}`);
    if (seq < feed.seq) {
      verifier.warn(`the issuer's log became shorter, from ${feed.seq} to ${seq}; what is known stays known`);
    }
    feed.advance(seq);
    const now = verifier.now();
    this.anchor.hear(verifier.clock, time, now);
    // A wrong clock here is said once each time it becomes wrong: other programs have the wrong time too.
    const offset = verifier.clock.time(now) - now.wall;
    const wrong = Math.abs(offset) > leeway;
    if (wrong && !feed.wrongClock) {
      verifier.warn(`the clock of this machine is off by ${-offset / 1e6} s; tokens are judged by the issuer's`);
    }
    feed.wrongClock = wrong;
  }

  /** @param {Record<string, unknown>} last */
  close({reason}) {
    const {issuer} = this.feed.verifier;
    if (reason !== 'token_expired' && reason !== 'token_revoked')
      throw new Error(`the server ended the stream: ${reason}`);
    issuer.forget(issuer.token.value);
    throw new Resume('a new token is needed');
  }
}

/**
 * A member that is a whole number; 0 where it is missing.
 * @param {Record<string, unknown>} object
 * @param {string} name
 */
function integer(object, name) {
  const value = object[name] ?? 0;
  if (!Number.isSafeInteger(value)) throw new Error(`an event whose ${name} cannot be read`);
  return /** @type {number} */ (value);
}

/**
 * Waits for a half of the time or more, or until the signal.
 * @param {number} ms
 * @param {AbortSignal} signal
 * @returns {Promise<void>}
 */
function pause(ms, signal) {
  return new Promise((resolve) => {
    const end = () => {
      clearTimeout(timer);
      signal.removeEventListener('abort', end);
      resolve();
    };
    const timer = setTimeout(end, ms / 2 + (Math.random() * ms) / 2);
    signal.addEventListener('abort', end);
    if (signal.aborted) end();
  });
}
