import {deepStrictEqual, ok, rejects, strictEqual, throws} from 'node:assert';
import {randomBytes, randomInt} from 'node:crypto';
import {test} from 'node:test';

import {exportJWK, importJWK, jwtVerify, SignJWT} from 'jose';

import {VerifyError} from '../src/index.js';
import {parseKeys} from '../src/keys.js';
import {parseObject} from '../src/json.js';
import {b64, claims, quiet, Signer} from './kit.js';

const issuer = 'https://id.example.com';

/** A verifier with fresh knowledge. */
function fresh(keys, options = {}) {
  const made = quiet(options, keys);
  made.v.clock.made = {...made.now};
  made.v.clock.server = made.now.wall;
  return made;
}

const now = 1_795_209_600;
const body = (more = {}) => claims(issuer, {iat: now, exp: now + 300, iat_us: now * 1e6, ...more});

for (const alg of ['ES256', 'EdDSA', 'RS256']) {
  test(`${alg}: jose reads what we accept, and we accept what jose signs`, async () => {
    const signer = new Signer(alg);
    const {v} = fresh([signer]);
    const ours = signer.sign(body());
    const accepted = await v.verify(ours);
    const options = {issuer, audience: issuer, typ: 'at+jwt', currentDate: new Date(now * 1000)};
    const {payload} = await jwtVerify(ours, await importJWK(signer.jwk, alg), options);
    deepStrictEqual({...accepted}, payload);

    const theirs = await new SignJWT(body({sub: 'anna'}))
      .setProtectedHeader({alg, typ: 'at+jwt', kid: signer.kid})
      .sign(signer.key);
    strictEqual((await v.verify(theirs)).sub, 'anna');
    const keys = parseKeys(JSON.stringify({keys: [{...(await exportJWK(signer.publicKey)), alg, kid: 'k'}]}));
    strictEqual(keys.get('k')?.alg, alg);
  });
}

test('no change of a genuine token is accepted', async () => {
  const signer = new Signer();
  const {v} = fresh([signer]);
  const genuine = signer.sign(body());
  await v.verify(genuine);
  const alphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.=+/ \n\0é';
  for (let i = 0; i < 3000; i++) {
    const at = randomInt(genuine.length),
      length = randomInt(3);
    const other =
      genuine.slice(0, at) + alphabet[randomInt(alphabet.length)].repeat(randomInt(3)) + genuine.slice(at + length);
    if (other === genuine) continue;
    await rejects(
      v.verify(other),
      (error) => error instanceof VerifyError && error.status === 401,
      JSON.stringify(other),
    );
  }
  for (const odd of [undefined, null, 7, {}, [genuine], Buffer.from(genuine), '']) {
    await rejects(v.verify(odd), {code: 'malformed'});
  }
});

test('claims are frozen, and the next call gets them unchanged', async () => {
  const signer = new Signer();
  const {v} = fresh([signer]);
  const token = signer.sign(body({aud: [issuer, 'other'], nested: {list: [{deep: 1}]}}));
  const got = await v.verify(token);
  for (const change of [
    () => {
      got.sub = 'x';
    },
    () => {
      got.aud.push('x');
    },
    () => {
      got.nested.list[0].deep = 2;
    },
    () => {
      delete got.exp;
    },
  ])
    throws(change, TypeError);
  strictEqual(await v.verify(token), got);
  strictEqual(v.stats().cached, 1);
});

test('the strict reader agrees with a slow one', () => {
  /** Counts every member by a reader of its own. */
  const doubled = (value) =>
    Array.isArray(value)
      ? value.some(doubled)
      : value instanceof Map
        ? value.twice || [...value.values()].some(doubled)
        : false;
  const random = (depth) => {
    const kind = randomInt(depth > 4 ? 4 : 6);
    if (kind < 4)
      return ['true', '-1.5e3', JSON.stringify(randomBytes(4).toString('latin1') + '"\\:,{'), '"\\u003a\\""'][kind];
    const parts = Array.from({length: randomInt(4)}, () => random(depth + 1));
    if (kind === 4) return {text: `[${parts.map(textOf).join(' , ')}]`, value: parts.map(valueOf)};
    const names = parts.map(() => ['"a"', '"\\u0061"', '"b:"', '"c\\""'][randomInt(4)]);
    const map = new Map();
    for (const [i, name] of names.entries()) {
      const read = JSON.parse(name);
      if (map.has(read)) map.twice = true;
      map.set(read, valueOf(parts[i]));
    }
    if (names.length !== new Set(names.map((name) => JSON.parse(name))).size) map.twice = true;
    return {text: `{${parts.map((p, i) => `${names[i]} :${textOf(p)}`).join(',')}}`, value: map, all: parts};
  };
  const textOf = (p) => (typeof p === 'string' ? p : p.text);
  const valueOf = (p) => (typeof p === 'string' ? p : p.value);
  // A doubled member hides the first value from the map, so each part is asked for itself.
  const anyDoubled = (p) => typeof p !== 'string' && (doubled(p.value) || (p.all ?? []).some(anyDoubled));
  let refused = 0;
  for (let i = 0; i < 3000; i++) {
    const inner = random(0);
    const text = `{"x":${textOf(inner)}}`;
    const bad = anyDoubled(inner);
    if (bad) {
      refused++;
      throws(() => parseObject(Buffer.from(text)), VerifyError, text);
    } else {
      deepStrictEqual({...parseObject(Buffer.from(text))}, JSON.parse(text));
    }
  }
  ok(refused > 100);
});

test('a key set is read without the keys that sign no access tokens', () => {
  const [es, ed, rs] = ['ES256', 'EdDSA', 'RS256'].map((alg) => new Signer(alg));
  const set = (...keys) => JSON.stringify({keys});
  deepStrictEqual([...parseKeys(set(es.jwk, ed.jwk, rs.jwk)).keys()], ['ES256-1', 'EdDSA-1', 'RS256-1']);
  for (const bad of [
    {...es.jwk, use: 'enc'},
    {...es.jwk, alg: 'RS256'},
    {...es.jwk, kid: ''},
    {...es.jwk, kid: undefined},
    {...es.jwk, x: `${es.jwk.x}=`},
    {...es.jwk, y: es.jwk.x},
    {...es.jwk, crv: 'P-384'},
    {...rs.jwk, n: b64(randomBytes(255))},
    {...rs.jwk, e: ''},
    {...ed.jwk, alg: 'ES256'},
    {kty: 'oct', alg: 'HS256', kid: 'x', k: 'c2VjcmV0'},
    null,
    'key',
    7,
  ]) {
    throws(() => parseKeys(set(bad)), /no key that signs/, JSON.stringify(bad));
    strictEqual(parseKeys(set(bad, {...ed.jwk, kid: 'good'})).size, 1);
  }
  for (const text of ['', '[]', '{}', '{"keys":{}}', '{"keys":[]}']) throws(() => parseKeys(text));
});
