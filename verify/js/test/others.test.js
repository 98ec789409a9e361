// assertAlive beside the code that people have already.
import {deepStrictEqual, rejects} from 'node:assert';
import {once} from 'node:events';
import {test} from 'node:test';

import express from 'express';
import {createRemoteJWKSet, jwtVerify} from 'jose';
import {auth} from 'express-oauth2-jwt-bearer';
import passport from 'passport';
import {ExtractJwt, Strategy} from 'passport-jwt';

import {claims, closeServer, following, until} from './kit.js';

const limit = {timeout: 60_000};

/** Serves an app and gives the statuses of a token before and after its sign-out, and of none and a forged one. */
async function statuses(t, {stub, v}, app) {
  const server = app.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.after(() => closeServer(server));
  const get = async (token) => {
    const headers = token === undefined ? {} : {authorization: `Bearer ${token}`};
    const answer = await fetch(`http://127.0.0.1:${server.address().port}/orders`, {headers});
    return [answer.status, await answer.text()];
  };
  const mine = claims(stub.url),
    token = stub.signer.sign(mine);
  const got = [await get(token), (await get()).slice(0, 1), (await get(`${token.slice(0, -8)}AAAAAAAA`)).slice(0, 1)];
  stub.revoke(v.seq() + 1, 'device', mine.device_id, mine.iat_us);
  const seq = v.seq() + 1;
  await until(() => v.seq() === seq);
  got.push((await get(token)).slice(0, 1));
  deepStrictEqual(got, [[200, mine.sub], [401], [401], [401]]);
}

/** Answers a VerifyError as it says, and other errors by their status. */
const answerErrors = (error, req, res, next) => {
  // eslint-disable-line no-unused-vars
  if (error.challenge) res.set('WWW-Authenticate', error.challenge);
  res.sendStatus(error.status ?? 500);
};

test('jose', limit, async (t) => {
  const made = await following(t);
  const {stub, v} = made;
  const keys = createRemoteJWKSet(new URL(`${stub.url}/keys`));
  const app = express();
  app.get('/orders', async (req, res) => {
    const token = (req.headers.authorization ?? '').replace(/^Bearer /, '');
    try {
      const {payload} = await jwtVerify(token, keys, {issuer: stub.url, audience: stub.url, typ: 'at+jwt'});
      await v.assertAlive(payload, token);
      res.send(payload.sub);
    } catch (error) {
      res.sendStatus(error.status ?? 401);
    }
  });
  await statuses(t, made, app);
});

test('express-oauth2-jwt-bearer', limit, async (t) => {
  const made = await following(t);
  const {stub, v} = made;
  const app = express();
  app.use(
    auth({issuer: stub.url, jwksUri: `${stub.url}/keys`, audience: stub.url, tokenSigningAlg: 'ES256', strict: true}),
  );
  app.use((req, res, next) => v.assertAlive(req.auth.payload, req.auth.token).then(next, next));
  app.get('/orders', (req, res) => res.send(req.auth.payload.sub));
  app.use(answerErrors);
  await statuses(t, made, app);
});

test('passport-jwt', limit, async (t) => {
  const made = await following(t);
  const {stub, v} = made;
  const jwtFromRequest = ExtractJwt.fromAuthHeaderAsBearerToken();
  const app = express();
  app.use(passport.initialize());
  passport.use(
    new Strategy(
      {
        jwtFromRequest,
        secretOrKey: stub.signer.publicKey.export({type: 'spki', format: 'pem'}),
        algorithms: ['ES256'],
        issuer: stub.url,
        audience: stub.url,
        passReqToCallback: true,
      },
      (req, payload, done) => {
        v.assertAlive(payload, jwtFromRequest(req)).then(
          () => done(null, payload),
          (error) => (error.status === 401 ? done(null, false) : done(error)),
        );
      },
    ),
  );
  app.get('/orders', passport.authenticate('jwt', {session: false}), (req, res) => res.send(req.user.sub));
  app.use(answerErrors);
  await statuses(t, made, app);
});

test('many may ask at once', limit, async (t) => {
  const {stub, v} = await following(t);
  v.clock.made = null;
  const warnings = [];
  const listener = (warning) => warnings.push(warning.message);
  process.on('warning', listener);
  const tokens = Array.from({length: 40}, () => stub.mint());
  await Promise.all(tokens.map((token) => v.verify(token)));
  await new Promise(setImmediate);
  process.off('warning', listener);
  deepStrictEqual(warnings, []);
});

test('with the token a stale verifier asks, without it it refuses', limit, async (t) => {
  const {stub, v} = await following(t);
  v.clock.made = null;
  const mine = claims(stub.url),
    token = stub.signer.sign(mine);
  await v.assertAlive(mine, token);
  await rejects(v.assertAlive(mine), {code: 'stale'});
  stub.introspection = {active: false};
  await rejects(v.assertAlive(mine, token), {code: 'revoked'});
});
