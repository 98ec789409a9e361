/**
 * A moment by this machine's two clocks, in microseconds: the monotonic one, and the wall clock since 1970. The one
 * stands still while the machine is suspended, the other may be set.
 * @typedef {{mono: number, wall: number}} Moment
 */

/** How far ahead of the clock a token's issue may lie, in microseconds. Nothing else has any leeway. */
export const leeway = 10e6;

/** Bounds a heartbeat's time, microseconds: the year 2112. */
export const maxTime = 2 ** 52;

const second = 1e6;

/** @returns {Moment} */
export const systemNow = () => ({mono: performance.now() * 1000, wall: Date.now() * 1000});

/**
 * The time from u to m by the clock that says more.
 * @param {Moment} m
 * @param {Moment} u
 */
const since = (m, u) => Math.max(m.mono - u.mono, m.wall - u.wall);

/** A fault that only a new stream can mend: heartbeats that come late, or a clock that was set. */
export class AskAnew extends Error {}

/** The issuer's clock as its heartbeats show it, and how old the knowledge is. */
export class Clock {
  /** @param {number} bound seconds */
  constructor(bound) {
    this.bound = bound * second;
    /**
     * What a stream's heartbeats may be late, or a clock set by, before a new stream is opened. With a heartbeat every
     * 15 s a third of the usual bound would do; less is better, because tokens expire here that much too early.
     */
    this.tolerance = Math.max(second, Math.min(this.bound / 3, 5 * second));
    /** @type {Moment | null} when the last heartbeat was surely made */
    this.made = null;
    this.server = 0; // what the issuer's clock showed then
  }

  /**
   * How old the knowledge is, in microseconds.
   * @param {Moment} now
   */
  age(now) {
    return this.made === null ? Infinity : since(now, this.made);
  }

  /**
   * The issuer's time: between heartbeats it goes on with ours, before the first one it is ours.
   * @param {Moment} now
   */
  time(now) {
    return this.made === null ? now.wall : this.server + since(now, this.made);
  }

  /**
   * In seconds: the issuer's clock, and ours since the start, which never jumps.
   * @param {Moment} now
   */
  instant(now) {
    return {server: Math.floor(Math.max(this.time(now), 0) / second), local: Math.floor(now.mono / second)};
  }
}

/**
 * Ties the heartbeats of one stream to our clocks. When they come says nothing: whatever lies on the way may hold them
 * up. But the first was made after the request was sent, and each later one as much later as its time says.
 */
export class Anchor {
  /** @param {Moment} at when the request was sent */
  constructor(at) {
    this.at = at;
    this.first = 0; // the time of the first heartbeat
  }

  /**
   * Notes a heartbeat. A clock that is a little fast makes nothing younger than now; one that was set is not believed:
   * only a new request can say what time it is.
   * @param {Clock} clock
   * @param {number} server the heartbeat's time
   * @param {Moment} now
   */
  hear(clock, server, now) {
    if (this.first === 0) this.first = server;
    const after = server - this.first;
    const at = {mono: Math.min(this.at.mono, now.mono - after), wall: Math.min(this.at.wall, now.wall - after)};
    if (since(this.at, at) > clock.tolerance) {
      throw new AskAnew("the issuer's clock, or this machine's, went ahead of the other: asking anew");
    }
    this.at = at;
    clock.made = {mono: at.mono + after, wall: at.wall + after};
    clock.server = server;
    if (since(now, clock.made) > clock.tolerance) {
      throw new AskAnew("heartbeats come late, or the issuer's clock was set back: asking anew");
    }
  }
}
