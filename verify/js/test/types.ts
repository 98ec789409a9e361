// What people write in TypeScript; tsc checks it against the shipped types.
import {createVerifier, VerifyError, type Claims, type Options, type Verifier} from 'curfew-verify';
import {requireToken as guardExpress} from 'curfew-verify/express';
import {requireToken as guardFastify} from 'curfew-verify/fastify';
import {requireToken as guardHono} from 'curfew-verify/hono';
import {tokenVerifier} from 'curfew-verify/mcp';
import Fastify from 'fastify';
import {Hono} from 'hono';
import {requireBearerAuth} from '@modelcontextprotocol/sdk/server/auth/middleware/bearerAuth.js';

const options: Options = {
  issuer: 'https://id.example.com',
  clientId: 'api',
  clientSecret: 's',
  whenStale: 'reject',
  bound: 20,
};
const v: Verifier = createVerifier(options);

const claims: Claims = await v.verify('token');
const subject: string = claims.sub;
await v.assertAlive({sub: subject, client_id: 'web', iat_us: 1}, 'token');
const [stale, seq, entries]: [number, number, number] = [v.staleness(), v.seq(), v.stats().entries];
v.on('revocation', (event) =>
  console.log(event.level, event.subject?.length, event.valid_from + 1, stale, seq, entries),
);
v.on('warning', (warning) => console.warn(warning.message));

// @ts-expect-error: the claims are shared
claims.sub = 'other';
// @ts-expect-error: no such policy
createVerifier({...options, whenStale: 'maybe'});

const error = new VerifyError('revoked');
const status: number = error.status;
const challenge: string | null = error.challenge;
// @ts-expect-error: no such code
if (error.code === 'nonsense') console.log(status, challenge);

const fastify = Fastify();
fastify.get('/orders', {onRequest: guardFastify(v, 'orders')}, async (request) => request.auth?.sub);

const hono = new Hono();
hono.get('/orders', guardHono(v, 'orders'), (c) => c.text(c.get('auth').sub));

const guard = guardExpress(v, 'orders');
const request = {} as Express.Request;
console.log(guard.length, request.auth?.device_id);
requireBearerAuth({verifier: tokenVerifier(v), requiredScopes: ['orders']});

await v.close();
