import {deepStrictEqual, match, ok, rejects, strictEqual, throws} from 'node:assert';
import {execFile} from 'node:child_process';
import {randomUUID} from 'node:crypto';
import {test} from 'node:test';
import {promisify} from 'node:util';

import {createVerifier, VerifyError} from '../src/index.js';
import {defaultSubscriber} from '../src/options.js';
import {claims, following, quiet, Signer, startIssuer, until} from './kit.js';

const limit = {timeout: 60_000};

test('options that cannot work are refused, others are taken', async () => {
  const good = {issuer: 'https://id.example.com', clientId: 'api', clientSecret: 's'};
  for (const bad of [
    {issuer: undefined},
    {issuer: 'id.example.com'},
    {issuer: 'ftp://id.example.com'},
    {issuer: 'https://id.example.com?x'},
    {issuer: 'https://id.example.com#'},
    {issuer: 'https://a:b@id.example.com'},
    {clientId: ''},
    {clientSecret: undefined},
    {audience: ''},
    {subscriber: 'a b'},
    {subscriber: ''},
    {subscriber: 'a'.repeat(65)},
    {bound: 0},
    {bound: '30'},
    {bound: Infinity},
    {bound: NaN},
    {whenStale: 'maybe'},
    {whenStale: ''},
    {cacheSize: 0},
    {cacheSize: 1.5},
    {whenstale: 'reject'},
    {fetch},
  ])
    throws(() => createVerifier({...good, ...bad}), TypeError, JSON.stringify(bad));
  const v = createVerifier({...good, issuer: 'http://127.0.0.1:1'});
  v.on('warning', () => {});
  strictEqual(v.staleness(), Infinity);
  strictEqual(v.seq(), 0);
  await v.close();
});

test("the default subscriber is no other process's, and keeps the end of the host's name", () => {
  for (const [host, part] of Object.entries({
    '': '-',
    'web-1': 'web-1-',
    'a host ü': 'a-host--',
    [`${'orders-api-in-the-north-'.repeat(4)}7d9f-x2x4k`]: 'north-7d9f-x2x4k-',
  })) {
    const [one, other] = [defaultSubscriber(host), defaultSubscriber(host)];
    match(one, /^[A-Za-z0-9._-]{1,64}$/);
    ok(one !== other && one.includes(part), one);
  }
});

test('a token is refused from the moment at which its sign-out is known, at each level', limit, async (t) => {
  const {stub, v} = await following(t);
  const levels = {
    device: (c) => c.device_id,
    user: (c) => c.sub,
    client: (c) => c.client_id,
    everyone: () => null,
  };
  let seq = 0;
  for (const [level, subject] of Object.entries(levels)) {
    const mine = claims(stub.url, {client_id: `client-${level}`, iat_us: (Date.now() + 1000 * seq) * 1000});
    const token = stub.signer.sign(mine);
    strictEqual((await v.verify(token)).jti, mine.jti);
    const heard = new Promise((resolve) => v.once('revocation', (event) => resolve([event, v.verify(token)])));
    stub.revoke(++seq, level, subject(mine), mine.iat_us);
    const [event, then] = await heard;
    await rejects(then, {code: 'revoked', status: 401, challenge: 'Bearer error="invalid_token"'});
    deepStrictEqual(
      [event.level, event.subject, event.valid_from, event.reason],
      [level, subject(mine), mine.iat_us, 'signed_out'],
    );
    await v.verify(stub.signer.sign({...mine, iat_us: mine.iat_us + 1}));
    await rejects(v.assertAlive(mine), {code: 'revoked'});
    await v.assertAlive({...mine, iat_us: mine.iat_us + 1});
  }
  strictEqual(v.seq(), seq);
  const {verified, revoked, events, entries, connects, keyFetches} = v.stats();
  deepStrictEqual(
    {verified, revoked, events, entries, connects, keyFetches},
    {verified: 12, revoked: 8, events: 4, entries: 4, connects: 1, keyFetches: 1},
  );
});

test('claims that the rule cannot be asked about are refused', async () => {
  const {v} = quiet({whenStale: 'accept'});
  const good = {iat_us: 1, client_id: 'web', sub: 'anna', device_id: 'phone'};
  await v.assertAlive(good);
  await v.assertAlive({...good, device_id: undefined});
  for (const bad of [
    {iat_us: undefined},
    {iat_us: '1'},
    {iat_us: 1.5},
    {iat_us: 0},
    {iat_us: NaN},
    {client_id: undefined},
    {client_id: ''},
    {sub: ''},
    {sub: 7},
    {device_id: 7},
  ])
    await rejects(v.assertAlive({...good, ...bad}), {code: 'claims', status: 401});
  for (const bad of [undefined, null, 'claims', []]) await rejects(v.assertAlive(bad), {code: 'claims'});
});

test('stale knowledge: each policy, and what is known to be dead stays so', limit, async (t) => {
  for (const whenStale of ['introspect', 'reject', 'accept']) {
    const {stub, v} = await following(t, {whenStale}, (s) => {
      s.beats = false; // so that it is never fresh
    });
    await until(() => stub.streams.length > 0);
    const mine = claims(stub.url),
      token = stub.signer.sign(mine);
    const stale = {code: 'stale', status: 503, challenge: null};
    if (whenStale === 'reject') await rejects(v.verify(token), stale);
    if (whenStale === 'accept') await v.verify(token);
    if (whenStale === 'introspect') {
      await v.verify(token);
      const asked = stub.requests.find(({path}) => path === '/introspect');
      strictEqual(asked.body, `token=${token}`);
      strictEqual(asked.headers.authorization, `Basic ${Buffer.from('api:a%2Bb%2Fc%3Ad%25e').toString('base64')}`);
      await v.assertAlive(mine, token);
      await rejects(v.assertAlive(mine), stale);
      for (const answer of [{active: false}, {active: 'true'}, {}, []]) {
        stub.introspection = answer;
        await rejects(v.verify(token), {code: 'revoked'}, JSON.stringify(answer));
      }
      const unavailable = {code: 'unavailable', status: 503, challenge: null};
      for (const route of [
        (req, res) => res.writeHead(500).end('{"active":true}'),
        (req, res) => res.end('active'),
        (req, res) => req.socket.destroy(),
        (req, res) => res.writeHead(302, {location: `${stub.url}/ack`}).end(),
        (req, res) => res.end(`{"active":true,"x":"${'x'.repeat(2 << 20)}"}`),
      ]) {
        stub.routes['/introspect'] = route;
        await rejects(v.verify(token), unavailable);
      }
    }
    stub.revoke(1, 'user', mine.sub);
    await until(() => v.seq() === 1);
    const asked = v.stats().introspected;
    await rejects(v.verify(token), {code: 'revoked'});
    strictEqual(v.stats().introspected, asked);
  }
});

test('without keys a token is unavailable, and the form is judged all the same', limit, async (t) => {
  const {stub, v} = await following(t, {}, (s) => {
    s.beats = false;
    s.routes['/keys'] = (req, res) => res.writeHead(503).end();
  });
  await rejects(v.verify(stub.mint()), {code: 'unavailable', status: 503});
  await rejects(v.verify('a.b.c'), {code: 'malformed'});
  await rejects(v.verify(stub.mint({}, {typ: 'JWT'})), {code: 'type'});
});

test('forged key ids cost the issuer one request, and a new key is found', limit, async (t) => {
  const {stub, v} = await following(t);
  const first = v.stats().keyFetches;
  v.keys.fetched = -Infinity; // as if the last fetch were long ago
  const forged = Array.from({length: 50}, () =>
    v.verify(stub.mint({}, {kid: randomUUID()})).catch((error) => error.code),
  );
  deepStrictEqual(new Set(await Promise.all(forged)), new Set(['unknown_key']));
  strictEqual(v.stats().keyFetches, first + 1);
  const next = new Signer('EdDSA', 'next');
  stub.keys.push(next.jwk);
  const token = next.sign(claims(stub.url));
  await rejects(v.verify(token), {code: 'unknown_key'}); // while it cools down
  v.keys.fetched = -Infinity;
  await v.verify(token);
  strictEqual(v.stats().keyFetches, first + 2);
  await rejects(v.verify(stub.mint({}, {alg: 'RS256'})), {code: 'unknown_key'});
});

test('a withdrawn key ends the tokens that are remembered, and a failed fetch keeps the keys', limit, async (t) => {
  const {stub, v} = await following(t);
  const token = stub.mint();
  await v.verify(token);
  const route = stub.routes['/keys'];
  stub.routes['/keys'] = (req, res) => res.end('{"keys":[]}');
  await v.keys.refresh(0);
  await v.verify(token);
  match(v.warnings.join(), /the issuer's keys could not be fetched: the key set holds no key/);
  stub.routes['/keys'] = route;
  stub.keys = [new Signer('ES256').jwk]; // another key under the same name
  await v.keys.refresh(0);
  await rejects(v.verify(token), {code: 'signature'});
  const other = claims(stub.url),
    next = new Signer('EdDSA', 'next');
  stub.keys = [next.jwk];
  await v.keys.refresh(0);
  await rejects(v.verify(token), {code: 'unknown_key'});
  await v.verify(next.sign(other));
});

test('the keys are asked for with their ETag', limit, async (t) => {
  const {stub, v} = await following(t, {}, (s) => {
    s.routes['/keys'] = (req, res) =>
      req.headers['if-none-match'] === '"1"'
        ? res.writeHead(304).end()
        : res.writeHead(200, {etag: '"1"'}).end(JSON.stringify({keys: s.keys}));
  });
  await v.keys.refresh(0);
  await v.verify(stub.mint());
  deepStrictEqual(
    stub.requests.filter(({path}) => path === '/keys').map(({headers}) => headers['if-none-match']),
    [undefined, '"1"'],
  );
});

test('metadata that name another issuer or foreign addresses get no secret', limit, async (t) => {
  for (const change of [
    (m) => {
      m.issuer += '/';
    },
    (m) => {
      m.token_endpoint = 'https://evil.example/token';
    },
    (m) => {
      m.jwks_uri = `${m.issuer}.evil.example/keys`;
    },
    (m) => {
      delete m.revocation_feed_endpoint;
    },
    (m) => {
      m.revocation_ack_endpoint = 7;
    },
    (m) => {
      m.introspection_endpoint = `${m.issuer}@evil.example/introspect`;
    },
  ]) {
    const {stub, v} = await following(t, {}, (s) => {
      s.beats = false;
      s.routes['/.well-known/oauth-authorization-server'] = (req, res) => {
        const metadata = {issuer: s.url};
        for (const [name, path] of Object.entries({
          token_endpoint: 'token',
          introspection_endpoint: 'introspect',
          jwks_uri: 'keys',
          revocation_feed_endpoint: 'feed',
          revocation_ack_endpoint: 'ack',
        }))
          metadata[name] = `${s.url}/${path}`;
        change(metadata);
        res.end(JSON.stringify(metadata));
      };
    });
    await until(() => v.warnings.length > 1);
    ok(stub.requests.every(({path}) => path.startsWith('/.well-known/')));
    await rejects(v.verify(stub.mint()), {code: 'unavailable'});
    await v.close();
  }
});

test('the well-known part goes between the host and the path of the issuer', limit, async (t) => {
  const stub = await startIssuer();
  const v = createVerifier({issuer: `${stub.url}/tenant`, clientId: 'api', clientSecret: 's'});
  v.on('warning', () => {});
  t.after(async () => {
    await v.close();
    await stub.close();
  });
  await until(() => stub.requests.length > 0);
  strictEqual(stub.requests[0].url, '/.well-known/oauth-authorization-server/tenant');
});

test('after close nothing keeps the process, whatever was under way', limit, async (t) => {
  const stub = await startIssuer();
  t.after(() => stub.close());
  stub.routes['/slow'] = () => {};
  const script = `
    import {createVerifier} from 'curfew-verify';
    const v = createVerifier({issuer: process.argv[1], clientId: 'api', clientSecret: 's', whenStale: 'reject'});
    v.on('warning', () => {});
    const asked = v.verify(process.argv[2]).catch((error) => error.code);
    const soon = () => new Promise((resolve) => setTimeout(resolve, 5));
    while (process.argv[3] === 'followed' && v.staleness() === Infinity) await soon();
    await v.close();
    console.log(await asked);`;
  const run = (issuer, how) =>
    promisify(execFile)(process.execPath, ['--input-type=module', '-e', script, issuer, stub.mint(), how], {
      timeout: 30_000,
      cwd: new URL('..', import.meta.url),
    });
  match((await run(stub.url, 'followed')).stdout, /stale|object/);
  await run(stub.url, 'at once');
  await run('http://127.0.0.1:1', 'at once');
  stub.routes['/keys'] = () => {};
  await run(stub.url, 'at once');
});

test('VerifyError says what to answer', () => {
  const answers = Object.fromEntries(
    ['no_token', 'request', 'malformed', 'revoked', 'stale', 'unavailable', 'scope'].map((code) => {
      const {status, challenge} = new VerifyError(code, {scopes: ['a', 'b']});
      return [code, [status, challenge]];
    }),
  );
  deepStrictEqual(answers, {
    no_token: [401, 'Bearer'],
    request: [400, 'Bearer error="invalid_request"'],
    malformed: [401, 'Bearer error="invalid_token"'],
    revoked: [401, 'Bearer error="invalid_token"'],
    stale: [503, null],
    unavailable: [503, null],
    scope: [403, 'Bearer error="insufficient_scope", scope="a b"'],
  });
});
