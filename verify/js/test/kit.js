// A small issuer whose feed a test holds in its hand, and tokens of its key.
import {generateKeyPairSync, randomUUID, sign} from 'node:crypto';
import {createServer} from 'node:http';
import {once} from 'node:events';

import {Verifier} from '../src/verifier.js';

export const b64 = (/** @type {string | Buffer} */ s) => Buffer.from(s).toString('base64url');

const pairs = {
  ES256: () => generateKeyPairSync('ec', {namedCurve: 'P-256'}),
  EdDSA: () => generateKeyPairSync('ed25519'),
  RS256: () => generateKeyPairSync('rsa', {modulusLength: 2048}),
};

/** A signing key of one of the algorithms. */
export class Signer {
  constructor(alg = 'ES256', kid = `${alg}-1`) {
    Object.assign(this, {alg, kid});
    const {privateKey, publicKey} = pairs[alg]();
    this.key = privateKey;
    this.publicKey = publicKey;
    this.jwk = {...publicKey.export({format: 'jwk'}), alg, kid, use: 'sig'};
  }

  /** Signs a header and a body, each an object or the text of one. */
  sign(body, head = {}) {
    const header = {alg: this.alg, typ: 'at+jwt', kid: this.kid};
    const text = (x) => b64(typeof x === 'string' || Buffer.isBuffer(x) ? x : JSON.stringify(x));
    const signed = `${text(typeof head === 'string' ? head : {...header, ...head})}.${text(body)}`;
    const digest = this.alg === 'EdDSA' ? null : 'sha256';
    return `${signed}.${b64(sign(digest, Buffer.from(signed), {key: this.key, dsaEncoding: 'ieee-p1363'}))}`;
  }
}

/** Claims as the issuer would write them now. */
export function claims(issuer, more = {}) {
  const now = Date.now();
  return {
    iss: issuer,
    sub: randomUUID(),
    aud: issuer,
    exp: Math.floor(now / 1000) + 300,
    iat: Math.floor(now / 1000),
    jti: randomUUID(),
    client_id: 'web',
    scope: 'orders profile',
    device_id: randomUUID(),
    rid: randomUUID(),
    iat_us: now * 1000,
    ...more,
  };
}

/** Closes a server whatever is connected, and whoever connects meanwhile. */
export async function closeServer(server) {
  const closing = setInterval(() => server.closeAllConnections(), 20);
  server.close();
  await once(server, 'close');
  clearInterval(closing);
}

/** The stub: routes may be replaced in `routes`; `streams` are the open answers of the feed. */
export async function startIssuer() {
  const signer = new Signer();
  const stub = {
    url: '',
    signer,
    keys: [signer.jwk],
    streams: [],
    requests: [],
    acks: [],
    tokens: 0,
    beats: true,
    life: 300,
    introspection: {active: true},
    /** Says something on the open streams. */
    say(text) {
      for (const stream of stub.streams) stream.write(text);
    },
    beat(seq = 0, time = Date.now() * 1000) {
      stub.say(`event: heartbeat\ndata: ${JSON.stringify({seq, time})}\n\n`);
    },
    revoke(seq, level, subject, validFrom = Date.now() * 1000) {
      const data = {seq, level, subject, valid_from: validFrom, expires_at: validFrom + 300e6, reason: 'signed_out'};
      stub.say(`id: ${seq}\nevent: revocation\ndata: ${JSON.stringify(data)}\n\n`);
    },
    mint: (more, head) => stub.signer.sign(claims(stub.url, more), head),
    close: () => closeServer(server),
  };
  const json = (res, value, status = 200) =>
    res.writeHead(status, {'content-type': 'application/json'}).end(JSON.stringify(value));
  stub.routes = {
    '/.well-known/oauth-authorization-server': (req, res) =>
      json(res, {
        issuer: stub.url,
        token_endpoint: `${stub.url}/token`,
        introspection_endpoint: `${stub.url}/introspect`,
        jwks_uri: `${stub.url}/keys`,
        revocation_feed_endpoint: `${stub.url}/feed`,
        revocation_ack_endpoint: `${stub.url}/ack`,
      }),
    '/keys': (req, res) => json(res, {keys: stub.keys}),
    '/token': (req, res) => json(res, {access_token: `own-${++stub.tokens}`, expires_in: stub.life}),
    '/introspect': (req, res) => json(res, stub.introspection),
    '/ack': (req, res, body) => {
      stub.acks.push(JSON.parse(body));
      res.writeHead(204).end();
    },
    '/feed': (req, res) => {
      res.writeHead(200, {'content-type': 'text/event-stream'}).flushHeaders();
      stub.streams.push(res);
      res.on('close', () => stub.streams.splice(stub.streams.indexOf(res), 1));
      if (stub.beats) stub.beat(Number(req.headers['last-event-id']));
    },
  };
  const server = createServer(async (req, res) => {
    let body = '';
    for await (const chunk of req) body += chunk;
    const path = req.url.split('?')[0];
    stub.requests.push({path, url: req.url, headers: req.headers, body});
    (stub.routes[path] ?? ((_, r) => r.writeHead(404).end()))(req, res, body);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  stub.url = `http://127.0.0.1:${server.address().port}`;
  return stub;
}

/** Waits until something is so; a test that waits for ever is ended by its own time limit. */
export async function until(so) {
  while (!so()) await new Promise((resolve) => setTimeout(resolve, 5));
}

/** A stub and a verifier that follows it, both closed after the test. */
export async function following(t, options = {}, change = () => {}) {
  const stub = await startIssuer();
  change(stub);
  const v = new Verifier({
    issuer: stub.url,
    clientId: 'api',
    clientSecret: 'a+b/c:d%e',
    subscriber: 'test-1',
    ...options,
  });
  v.warnings = [];
  v.on('warning', (w) => v.warnings.push(w.message));
  t.after(async () => {
    await v.close();
    await stub.close();
  });
  if (stub.beats) await until(() => v.staleness() < 30);
  return {stub, v};
}

/** A verifier that follows nothing, with a clock and keys in hand. */
export function quiet(options = {}, keys = []) {
  const now = {mono: 0, wall: 1_795_209_600e6};
  const v = new Verifier(
    {issuer: 'https://id.example.com', clientId: 'api', clientSecret: 'x', whenStale: 'reject', ...options},
    {follow: false, now: () => ({...now}), fetch: () => Promise.reject(new Error('nobody is asked'))},
  );
  v.on('warning', () => {});
  v.keys.keys = new Map(
    keys.map((s) => [
      s.kid,
      {
        alg: s.alg,
        digest: s.alg === 'EdDSA' ? null : 'sha256',
        input: {key: s.publicKey, dsaEncoding: 'ieee-p1363'},
      },
    ]),
  );
  v.keys.fetched = Infinity; // nobody is asked for keys
  v.feed.acknowledge = async () => {}; // nor told anything
  const advance = (seconds) => {
    now.mono += seconds * 1e6;
    now.wall += seconds * 1e6;
  };
  return {v, now, advance};
}
