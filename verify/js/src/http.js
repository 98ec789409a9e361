/** Bounds every request but the feed, in milliseconds. */
export const requestTimeout = 10_000;

/** Bounds every answer but the feed, in bytes. */
const maxDocument = 1 << 20;

/** @typedef {typeof globalThis.fetch} Fetch */

/** An answer other than the one that was asked for. */
export class StatusError extends Error {
  /**
   * @param {string} url
   * @param {number} status
   * @param {string} [code] the OAuth error
   */
  constructor(url, status, code = '') {
    super(`${url}: ${status} ${code}`.trimEnd());
    this.status = status;
  }
}

/**
 * Runs something that ends when a time is over or another signal says so.
 * @template T
 * @param {AbortSignal | null} signal
 * @param {number} ms
 * @param {string} why it ended
 * @param {(signal: AbortSignal, timer: NodeJS.Timeout) => Promise<T>} run the timer may be set anew with refresh()
 * @returns {Promise<T>}
 */
export async function bounded(signal, ms, why, run) {
  const controller = new AbortController();
  const end = () => controller.abort(signal?.reason);
  if (signal?.aborted) end();
  signal?.addEventListener('abort', end);
  const timer = setTimeout(() => controller.abort(new Error(why)), ms).unref();
  try {
    return await run(controller.signal, timer);
  } finally {
    clearTimeout(timer);
    signal?.removeEventListener('abort', end);
    controller.abort(); // what was not read to its end is not waited for
  }
}

/**
 * Sends a request and reads its answer, both within the time and the size that are allowed.
 * @param {Fetch} fetch
 * @param {string} url
 * @param {RequestInit} init
 * @param {AbortSignal | null} signal
 */
export function request(fetch, url, init, signal) {
  return bounded(signal, requestTimeout, `${url} did not answer in time`, async (signal) => {
    // An issuer does not redirect; whatever does so is somebody else, and must not get our secret.
    const answer = await fetch(url, {...init, redirect: 'error', signal});
    return {status: answer.status, headers: answer.headers, text: await readText(answer, url, signal)};
  });
}

/**
 * Reads a body until its end or until the signal. Node's fetch holds its answer weakly: when the collector has taken
 * that, the signal that was given to fetch ends nothing any more.
 * @param {Response} answer
 * @param {AbortSignal} signal
 * @returns {AsyncGenerator<Uint8Array, void>}
 */
export async function* chunks(answer, signal) {
  const reader = answer.body?.getReader();
  if (reader === undefined) return;
  const end = () => {
    reader.cancel(signal.reason).catch(() => {}); // a body that failed is at its end already
  };
  signal.addEventListener('abort', end);
  try {
    for (;;) {
      signal.throwIfAborted();
      const {done, value} = await reader.read();
      signal.throwIfAborted();
      if (done) return;
      yield value;
    }
  } finally {
    signal.removeEventListener('abort', end);
    end();
  }
}

/**
 * @param {Response} answer
 * @param {string} url
 * @param {AbortSignal} signal
 */
async function readText(answer, url, signal) {
  const pieces = [];
  let size = 0;
  for await (const piece of chunks(answer, signal)) {
    size += piece.length;
    if (size > maxDocument) throw new Error(`${url} answers more than ${maxDocument} bytes`);
    pieces.push(piece);
  }
  return Buffer.concat(pieces).toString('utf8');
}

/**
 * Reads a JSON object of the issuer's.
 * @param {string} text
 * @param {string} what
 * @returns {Record<string, unknown>}
 */
export function parseDocument(text, what) {
  let value;
  try {
    value = JSON.parse(text);
  } catch {
    value = null;
  }
  if (typeof value !== 'object' || value === null) throw new Error(`${what} is no JSON object`);
  return value;
}
