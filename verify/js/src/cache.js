/**
 * Remembers what was read from tokens whose signature was right, by the exact string. The form is strict, so no other
 * string is the same token; and what is remembered is not that the token is alive. It is two generations: when the
 * younger one is full it becomes the older one, whose own are forgotten.
 * @template T
 */
export class Cache {
  /** @param {number} size */
  constructor(size) {
    this.half = Math.max(1, Math.floor(size / 2));
    /** @type {Map<string, T>} */
    this.young = new Map();
    /** @type {Map<string, T>} */
    this.older = new Map();
  }

  /** @param {string} token */
  get(token) {
    let found = this.young.get(token);
    if (found === undefined) {
      found = this.older.get(token);
      if (found !== undefined) this.put(token, found);
    }
    return found;
  }

  /**
   * @param {string} token
   * @param {T} value
   */
  put(token, value) {
    if (this.young.size >= this.half) {
      this.older = this.young;
      this.young = new Map();
    }
    this.young.set(token, value);
  }

  /** Forgets all: a key was withdrawn. */
  clear() {
    this.young = new Map();
    this.older = new Map();
  }
}
