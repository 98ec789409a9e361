import {parseDocument, request, StatusError} from './http.js';

/**
 * What we need of RFC 8414.
 * @typedef {{token: string, introspect: string, keys: string, feed: string, ack: string}} Endpoints
 */

const members = {
  token: 'token_endpoint',
  introspect: 'introspection_endpoint',
  keys: 'jwks_uri',
  feed: 'revocation_feed_endpoint',
  ack: 'revocation_ack_endpoint',
};

/** Talks to the issuer, as the client that we are. */
export class Issuer {
  /**
   * @param {{issuer: string, clientId: string, clientSecret: string, subscriber: string}} options
   * @param {import('./http.js').Fetch} fetch
   * @param {() => import('./clock.js').Moment} now
   */
  constructor(options, fetch, now) {
    this.options = options;
    this.fetch = fetch;
    this.now = now;
    /** @type {Endpoints | null} */
    this.endpoints = null;
    this.token = {value: '', until: 0}; // by the monotonic clock
  }

  /**
   * Fetches the metadata once, RFC 8414 section 3.
   * @param {AbortSignal | null} signal
   * @returns {Promise<Endpoints>}
   */
  async metadata(signal) {
    if (this.endpoints !== null) return this.endpoints;
    const {issuer} = this.options;
    const url = new URL(issuer);
    // Section 3.1: the well-known part goes between the host and the issuer's path.
    url.pathname = `/.well-known/oauth-authorization-server${url.pathname.replace(/\/$/, '')}`;
    const {status, text} = await request(this.fetch, url.href, {}, signal);
    if (status !== 200) throw new StatusError(url.href, status);
    const document = parseDocument(text, "the issuer's metadata");
    if (document.issuer !== issuer) {
      // section 3.3
      throw new Error(`the metadata is of the issuer ${JSON.stringify(document.issuer)}`);
    }
    const found = Object.entries(members).map(([name, member]) => [name, own(issuer, document[member], member)]);
    this.endpoints = /** @type {Endpoints} */ (Object.fromEntries(found));
    return this.endpoints;
  }

  /**
   * Sends a form as the client that we are: HTTP Basic with form-urlencoded parts, RFC 6749 section 2.3.1.
   * @param {string} url
   * @param {Record<string, string>} form
   * @param {AbortSignal | null} signal
   */
  async post(url, form, signal) {
    const {clientId, clientSecret} = this.options;
    const basic = Buffer.from(`${formEncode(clientId)}:${formEncode(clientSecret)}`).toString('base64');
    const {status, text} = await request(
      this.fetch,
      url,
      {
        method: 'POST',
        body: new URLSearchParams(form),
        headers: {authorization: `Basic ${basic}`, accept: 'application/json'},
      },
      signal,
    );
    if (status === 200) return parseDocument(text, url);
    const code = /"error" *: *"([a-z_]+)"/.exec(text)?.[1];
    throw new StatusError(url, status, code);
  }

  /**
   * Asks about one token, RFC 7662. Close does not end it: somebody waits for it.
   * @param {string} token
   */
  async introspect(token) {
    const {introspect} = await this.metadata(null);
    const answer = await this.post(introspect, {token}, null);
    return answer.active === true;
  }

  /**
   * Gets an access token of our own, a new one each time: a stream ends when its token does.
   * @param {AbortSignal} signal
   */
  async newToken(signal) {
    const endpoints = await this.metadata(signal);
    const answer = await this.post(endpoints.token, {grant_type: 'client_credentials', scope: 'revocations'}, signal);
    const {access_token: value, expires_in: life} = answer;
    if (typeof value !== 'string' || typeof life !== 'number')
      throw new Error(`${endpoints.token} gave no access token`);
    this.token = {value, until: this.now().mono + life * 0.9e6};
    return value;
  }

  /** @param {string} value of the token that was refused or is over */
  forget(value) {
    if (this.token.value === value) this.token.until = 0;
  }

  /**
   * Tells what has been applied.
   * @param {number} seq
   * @param {AbortSignal} signal
   */
  async acknowledge(seq, signal) {
    const {ack} = await this.metadata(signal);
    const token = this.now().mono < this.token.until ? this.token.value : await this.newToken(signal);
    const {status} = await request(
      this.fetch,
      ack,
      {
        method: 'POST',
        body: JSON.stringify({subscriber: this.options.subscriber, seq}),
        headers: {authorization: `Bearer ${token}`, 'content-type': 'application/json'},
      },
      signal,
    );
    if (status === 401) this.forget(token);
    if (status < 200 || status > 299) throw new StatusError(ack, status);
  }

  /**
   * Opens the feed after an event.
   * @param {number} seq
   * @param {AbortSignal} signal of all that is read from it
   * @param {() => void} asking is told just before the request is sent
   */
  async openFeed(seq, signal, asking) {
    const {feed} = await this.metadata(signal);
    const token = await this.newToken(signal);
    asking();
    const answer = await this.fetch(`${feed}?subscriber=${encodeURIComponent(this.options.subscriber)}`, {
      redirect: 'error',
      signal,
      headers: {
        authorization: `Bearer ${token}`,
        accept: 'text/event-stream',
        'last-event-id': String(seq),
        // A proxy that compresses holds events up until its block is full.
        'accept-encoding': 'identity',
        'cache-control': 'no-cache',
      },
    });
    if (answer.status === 401) this.forget(token);
    if (answer.status !== 200 || answer.body === null) throw new StatusError(feed, answer.status);
    return answer;
  }
}

/**
 * An address from the metadata, which must be the issuer's own: it gets our secret.
 * @param {string} issuer
 * @param {unknown} url
 * @param {string} member
 */
function own(issuer, url, member) {
  if (typeof url !== 'string' || !url.startsWith(`${issuer}/`) || !URL.canParse(url)) {
    throw new Error(`the metadata's ${member} is not under the issuer`);
  }
  return url;
}

/** @param {string} s */
const formEncode = (s) => new URLSearchParams([['', s]]).toString().slice(1);
