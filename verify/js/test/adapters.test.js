import {deepStrictEqual, ok, rejects, strictEqual, throws} from 'node:assert';
import {once} from 'node:events';
import {createServer, request} from 'node:http';
import {test} from 'node:test';

import express from 'express';
import Fastify from 'fastify';
import {Hono} from 'hono';
import {requireBearerAuth} from '@modelcontextprotocol/sdk/server/auth/middleware/bearerAuth.js';
import {requireToken as guardExpress} from 'curfew-verify/express';
import {requireToken as guardFastify} from 'curfew-verify/fastify';
import {requireToken as guardHono} from 'curfew-verify/hono';
import {tokenVerifier} from 'curfew-verify/mcp';

import {claims, closeServer, following, quiet, startIssuer} from './kit.js';

const limit = {timeout: 60_000};

/** Sends a request with Authorization headers as they are written, which fetch would join. */
function get(port, ...authorization) {
  return new Promise((resolve, reject) => {
    const headers = authorization.flatMap((value) => ['Authorization', value]);
    const sent = request(
      {port, host: '127.0.0.1', path: '/orders', headers: ['Host', 'x', ...headers]},
      async (res) => {
        let body = '';
        for await (const chunk of res) body += chunk;
        resolve({status: res.statusCode, headers: res.headers, body});
      },
    );
    sent.on('error', reject).end();
  });
}

async function listen(t, server) {
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.after(() => closeServer(server));
  return server.address().port;
}

/** Each framework's server with one guarded route that answers the token's subject. */
const frameworks = {
  async express(t, v, ...scopes) {
    const app = express();
    app.get('/orders', guardExpress(v, ...scopes), (req, res) => res.json({sub: req.auth.sub}));
    app.use((error, req, res, next) => {
      // eslint-disable-line no-unused-vars
      res.status(500).json({message: error.message});
    });
    return listen(t, createServer(app));
  },
  async fastify(t, v, ...scopes) {
    const app = Fastify();
    app.get('/orders', {onRequest: guardFastify(v, ...scopes)}, async (req) => ({sub: req.auth.sub}));
    t.after(() => app.close());
    await app.listen({port: 0, host: '127.0.0.1'});
    return app.server.address().port;
  },
  async hono(t, v, ...scopes) {
    const app = new Hono();
    app.get('/orders', guardHono(v, ...scopes), (c) => c.json({sub: c.get('auth').sub}));
    app.onError((error, c) => c.json({message: error.message}, 500));
    // As its servers for Node do: headers of one name are joined.
    return listen(
      t,
      createServer(async (req, res) => {
        const headers = new Headers();
        for (let i = 0; i < req.rawHeaders.length; i += 2) headers.append(req.rawHeaders[i], req.rawHeaders[i + 1]);
        const answer = await app.fetch(new Request(`http://x${req.url}`, {headers}));
        res.writeHead(answer.status, Object.fromEntries(answer.headers)).end(await answer.text());
      }),
    );
  },
};

for (const [name, serve] of Object.entries(frameworks)) {
  test(
    `${name}: refusals are answered, RFC 6750 section 3, and the rest is let through with its claims`,
    limit,
    async (t) => {
      const {stub, v} = await following(t, {whenStale: 'reject'});
      const port = await serve(t, v, 'orders', 'profile');
      const mine = claims(stub.url);
      const good = stub.signer.sign(mine);
      for (const scheme of ['Bearer', 'bearer', 'BEARER ']) {
        const {status, body} = await get(port, `${scheme} ${good}`);
        deepStrictEqual([status, JSON.parse(body)], [200, {sub: mine.sub}]);
      }
      const refused = async (authorization, status, challenge, code) => {
        const answer = await get(port, ...authorization);
        const {headers} = answer;
        deepStrictEqual(
          [answer.status, headers['www-authenticate'], JSON.parse(answer.body).code],
          [status, challenge, code],
        );
        strictEqual(headers['content-type'], 'application/problem+json');
        strictEqual(headers['cache-control'], 'no-store');
        strictEqual(JSON.parse(answer.body).status, status);
      };
      for (const none of [[], [''], ['Basic YTpi'], ['Bearer'], [`Bearer${good}`], [good]])
        await refused(none, 401, 'Bearer', 'token_required');
      await refused([`Bearer ${good}`, `Bearer ${good}`], 400, 'Bearer error="invalid_request"', 'invalid_request');
      for (const bad of ['x', `${good}x`, stub.mint({exp: 1}), stub.mint({aud: 'other'})]) {
        await refused([`Bearer ${bad}`], 401, 'Bearer error="invalid_token"', 'invalid_token');
      }
      for (const scope of ['orders', 'orders profiles', '', undefined]) {
        await refused(
          [`Bearer ${stub.mint({scope})}`],
          403,
          'Bearer error="insufficient_scope", scope="orders profile"',
          'insufficient_scope',
        );
      }
      v.clock.made = null;
      await refused([`Bearer ${good}`], 503, undefined, 'temporarily_unavailable');
      strictEqual((await get(port, `Bearer ${good}`)).headers['retry-after'], '2');
    },
  );

  test(`${name}: a fault is the framework's to answer`, limit, async (t) => {
    const port = await serve(t, {verify: () => Promise.reject(new Error('a fault'))});
    const {status, body} = await get(port, 'Bearer x');
    strictEqual(status, 500);
    ok(body.includes('a fault'), body);
  });
}

test('what is no scope is refused when the route is made', () => {
  const {v} = quiet();
  for (const guard of [guardExpress, guardFastify, guardHono]) {
    for (const scope of ['', 'a b', 'a"b', 7, ['orders']]) throws(() => guard(v, scope), TypeError);
  }
});

test("mcp: the SDK's own middleware lets live tokens through, and no other", limit, async (t) => {
  const stub = await startIssuer();
  t.after(() => stub.close());
  const {v} = await following(
    t,
    {issuer: stub.url, audience: 'https://mcp.example.com/', whenStale: 'reject'},
    (other) => {
      Object.assign(other, {url: stub.url, signer: stub.signer, beats: false});
    },
  );
  while (v.staleness() === Infinity) await new Promise((resolve) => setTimeout(resolve, 5));
  const mint = (more) => stub.mint({aud: 'https://mcp.example.com/', ...more});
  const app = express();
  const guard = requireBearerAuth({
    verifier: tokenVerifier(v),
    requiredScopes: ['orders'],
    expectedResource: new URL('https://mcp.example.com/'),
    resourceMetadataUrl: 'https://mcp.example.com/meta',
  });
  app.get('/orders', guard, (req, res) => res.json(req.auth));
  const port = await listen(t, createServer(app));
  const mine = claims(stub.url, {aud: 'https://mcp.example.com/'}),
    token = stub.signer.sign(mine);
  const {status, body} = await get(port, `Bearer ${token}`);
  strictEqual(status, 200);
  deepStrictEqual(JSON.parse(body), {
    token,
    clientId: 'web',
    scopes: ['orders', 'profile'],
    expiresAt: mine.exp,
    resource: 'https://mcp.example.com/',
    extra: {claims: mine},
  });
  stub.revoke(1, 'device', mine.device_id, mine.iat_us);
  while (v.seq() < 1) await new Promise((resolve) => setTimeout(resolve, 5));
  const refused = await get(port, `Bearer ${token}`);
  strictEqual(refused.status, 401);
  ok(refused.headers['www-authenticate'].startsWith('Bearer error="invalid_token"'));
  strictEqual((await get(port, `Bearer ${mint({scope: 'profile'})}`)).status, 403);
  v.clock.made = null;
  strictEqual((await get(port, `Bearer ${mint()}`)).status, 500); // the SDK has no 503
  await rejects(
    tokenVerifier({verify: () => Promise.reject(new Error('a fault'))}).verifyAccessToken('x'),
    /a fault/,
  );
});
