// Sign-in with Curfew for a page in a browser: code with PKCE, one refresh for all tabs, sign-out.
//
//   const session = new Session({issuer, clientId, redirectUri, scope});
//   session.onChange = (signedIn) => …;  // also when another tab, or somebody elsewhere, signs out
//   await session.start();               // at each load of the page
//   await session.signIn();              // leaves the page
//   await session.fetch('/orders');      // fetch, with the access token
//   await session.signOut();

// CurfewError has the code that the server gave: https://www.rfc-editor.org/rfc/rfc6749#section-5.2
export class CurfewError extends Error {
  constructor(code, text, retryAfter = 0) {
    super(text || code);
    this.code = code;
    this.retryAfter = retryAfter; // seconds, if the server said so
  }
}

const base64url = (bytes) =>
  btoa(String.fromCharCode(...bytes)).replaceAll('+', '-').replaceAll('/', '_').replaceAll('=', '');
const random = () => base64url(crypto.getRandomValues(new Uint8Array(32)));
const sha256 = async (text) =>
  base64url(new Uint8Array(await crypto.subtle.digest('SHA-256', new TextEncoder().encode(text))));

export class Session {
  onChange = () => {};
  #config;
  #tokens = null; // {access, refresh, renewAt, at}: in memory, never in a storage that outlives the page
  #tabs;
  #answered = () => {};
  #name;

  // refreshCookie: the client was registered with --refresh-cookie, and no script ever holds the refresh token.
  constructor({issuer, clientId, redirectUri, scope, refreshCookie = false}) {
    this.#config = {issuer, clientId, redirectUri, scope, refreshCookie};
    this.#name = `curfew:${clientId}`;
    this.#tabs = new BroadcastChannel(this.#name);
    this.#tabs.onmessage = ({data}) => this.#hear(data);
  }

  get signedIn() {
    return this.#tokens !== null;
  }

  // start takes up the answer of the sign-in page, or the tokens of another tab.
  async start() {
    const {searchParams: answer} = new URL(location.href);
    if (answer.has('state') && (answer.has('code') || answer.has('error'))) {
      history.replaceState(null, '', location.pathname); // no reload sends the code twice
      return this.#finish(answer);
    }
    this.#tabs.postMessage({ask: true});
    await new Promise((done) => {
      this.#answered = done;
      setTimeout(done, 100);
    });
    if (!this.#tokens && this.#config.refreshCookie && localStorage.getItem(this.#name)) {
      await this.#refresh(null).catch((err) => {
        if (err.code !== 'invalid_grant' && err.code !== 'invalid_request') throw err; // there is no cookie any more
      });
    }
  }

  async signIn(more = {}) {
    const {issuer, clientId, redirectUri, scope} = this.#config;
    const question = {state: random(), verifier: random()};
    sessionStorage.setItem(this.#name, JSON.stringify(question)); // this tab's alone
    const url = new URL(issuer + '/oauth2/authorize');
    url.search = new URLSearchParams({
      response_type: 'code', client_id: clientId, redirect_uri: redirectUri, scope, state: question.state,
      code_challenge: await sha256(question.verifier), code_challenge_method: 'S256', ...more,
    });
    location.assign(url);
  }

  async #finish(answer) {
    const {issuer, redirectUri} = this.#config;
    const question = JSON.parse(sessionStorage.getItem(this.#name));
    sessionStorage.removeItem(this.#name);
    if (!question || answer.get('state') !== question.state || answer.get('iss') !== issuer) {
      throw new CurfewError('wrong_answer', 'this page did not ask for that sign-in; please try again');
    }
    if (answer.has('error')) throw new CurfewError(answer.get('error'), answer.get('error_description'));
    this.#take(await this.#post('token', {
      grant_type: 'authorization_code', code: answer.get('code'), redirect_uri: redirectUri,
      code_verifier: question.verifier, device_id: localStorage.getItem(this.#name),
    }));
  }

  // fetch is the browser's, with the access token: for your own APIs and Curfew's. A 401 is worth one refresh; if that
  // fails, somebody signed out.
  async fetch(input, init = {}) {
    for (let again = false; ; again = true) {
      if (this.#tokens && Date.now() >= this.#tokens.renewAt) await this.#refresh(this.#tokens);
      const used = this.#tokens;
      if (!used) throw new CurfewError('signed_out', 'signed out');
      const headers = new Headers(init.headers);
      headers.set('Authorization', `Bearer ${used.access}`);
      const answer = await fetch(input, {...init, headers});
      if (answer.status !== 401 || again) return answer;
      await this.#refresh(used);
    }
  }

  // signOut ends this device, at every API. Without the server nothing has ended: then it throws; try again.
  signOut() {
    return navigator.locks.request(this.#name, async () => {
      const old = this.#tokens;
      if (!old) return;
      await this.#post('revoke', {token: old.refresh});
      this.#end(old);
    });
  }

  // One tab refreshes, the others wait and take what it got. A tab that does not hear of it in time sends the same
  // refresh token once more, and gets the same successor.
  async #refresh(old) {
    const {locks} = navigator;
    const busy = await locks.request(this.#name, {ifAvailable: true}, (lock) => (lock ? this.#renew(old) : true));
    if (!busy) return;
    await locks.request(this.#name, async () => {
      for (let i = 0; this.#tokens === old && i < 20; i++) await new Promise((next) => setTimeout(next, 50));
      await this.#renew(old);
    });
  }

  async #renew(old) {
    if (this.#tokens !== old) return;
    try {
      this.#take(await this.#post('token', {grant_type: 'refresh_token', refresh_token: old?.refresh}));
    } catch (err) {
      if (err.code === 'invalid_grant') this.#end(old);
      throw err; // of any other error the tokens stay good: try again later
    }
  }

  async #post(endpoint, fields) {
    const {issuer, clientId, refreshCookie} = this.#config;
    const body = new URLSearchParams({client_id: clientId});
    for (const [name, value] of Object.entries(fields)) if (value) body.set(name, value);
    const answer = await fetch(`${issuer}/oauth2/${endpoint}`,
      {method: 'POST', body, credentials: refreshCookie ? 'include' : 'omit'});
    const members = await answer.json().catch(() => ({}));
    if (answer.ok) return members;
    throw new CurfewError(members.error ?? `status_${answer.status}`, members.error_description,
      Number(answer.headers.get('Retry-After')));
  }

  #take({access_token, refresh_token, expires_in, device_id}) {
    const at = Date.now(); // differences only: the clock may be wrong
    this.#tokens = {access: access_token, refresh: refresh_token, renewAt: at + 900 * expires_in, at};
    localStorage.setItem(this.#name, device_id); // no secret: by it the next sign-in is of the same device
    this.#tabs.postMessage({tokens: this.#tokens});
    this.onChange(true);
  }

  #end(old) {
    if (this.#tokens !== old) return; // signed in anew meanwhile
    this.#tokens = null;
    this.#tabs.postMessage({ended: old?.at ?? 0});
    this.onChange(false);
  }

  #hear({ask, tokens, ended}) {
    if (ask && this.#tokens) this.#tabs.postMessage({tokens: this.#tokens});
    if (tokens && !(this.#tokens?.at >= tokens.at)) {
      this.#tokens = tokens;
      this.#answered();
      this.onChange(true);
    }
    if (this.#tokens?.at <= ended) {
      this.#tokens = null;
      this.onChange(false);
    }
  }
}
