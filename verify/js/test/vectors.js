// npm run vectors: the behaviour that every verifier has, as data of ../../vectors, against the real parser and index.
import {readFileSync} from 'node:fs';
import {deepStrictEqual, ok, strictEqual} from 'node:assert';
import {fileURLToPath} from 'node:url';

import {authorize} from '../src/bearer.js';
import {VerifyError} from '../src/errors.js';
import {parseKeys} from '../src/keys.js';
import {Stream} from '../src/feed.js';
import {Verifier} from '../src/verifier.js';

const read = (name) => JSON.parse(readFileSync(new URL(`../../vectors/${name}.json`, import.meta.url), 'utf8'));

/** What came of a promise: ok, or the code of its error. Any other error is a fault of the verifier. */
async function verdictOf(promise) {
  try {
    await promise;
    return {verdict: 'ok'};
  } catch (error) {
    ok(error instanceof VerifyError, error);
    return {verdict: error.code, status: error.status, challenge: error.challenge};
  }
}

/** A clock that stands until it is moved. */
const clockAt = (seconds) => ({mono: 0, wall: seconds * 1e6});

async function token({issuer, audience, jwks, now, codes}, test) {
  const clock = clockAt(test.now ?? now);
  const v = new Verifier(
    {issuer, audience, clientId: 'api', clientSecret: 'x', whenStale: 'accept'},
    {follow: false, now: () => ({...clock})},
  );
  v.keys.keys = parseKeys(JSON.stringify(jwks));
  v.keys.fetched = Infinity; // nobody is asked for keys
  const {scopes = []} = test;
  const check = () =>
    test.authorization === undefined ? v.verify(test.token) : authorize(v, test.authorization, scopes);
  for (const time of ['first', 'second']) {
    // the second may find it remembered
    const {verdict, status, challenge} = await verdictOf(check());
    strictEqual(verdict, test.verdict, `${time} time`);
    if (verdict === 'ok') continue;
    const expected = codes[verdict];
    strictEqual(status, expected.status);
    strictEqual(challenge, expected.challenge?.replace('{scopes}', scopes.join(' ')) ?? null);
  }
}

const introspections = {active: {active: true}, inactive: {active: false}};

/** A verifier with a clock in hand, whose introspection answers as the step says. */
function transcriptVerifier({issuer, audience, now}, test) {
  const clock = clockAt(now);
  const state = {introspection: 'down'};
  const fetch = async () => {
    if (state.introspection === 'down') throw new Error('nobody answers');
    return Response.json(introspections[state.introspection]);
  };
  const v = new Verifier(
    {issuer, audience, clientId: 'api', clientSecret: 'x', bound: test.bound, whenStale: test.when_stale},
    {follow: false, now: () => ({...clock}), fetch},
  );
  v.on('warning', () => {});
  v.issuer.endpoints = {token: issuer, introspect: issuer, keys: issuer, feed: issuer, ack: issuer};
  v.feed.acknowledge = async () => {}; // nobody is told
  return {v, clock, state};
}

/** Tokens enter as the parsed claims that the step gives, as if their signature had been right. */
function remember(v, claims) {
  const text = JSON.stringify(claims);
  const entry = {
    claims,
    expires: claims.exp * 1e6,
    issued: Math.max(claims.iat, claims.nbf ?? 0) * 1e6,
    belongs: v.revoked.belongs(claims),
  };
  v.cache.put(text, entry);
  return text;
}

/** The stream of a transcript: what is thrown ends it, as it ends one that is followed. */
class Reading {
  constructor(v) {
    this.reader = new Stream(v.feed).reader();
    this.closed = false;
  }

  push(bytes) {
    if (this.closed) return;
    try {
      this.reader.push(bytes);
    } catch {
      this.closed = true;
    }
  }
}

async function feed(file, test) {
  const {v, clock, state} = transcriptVerifier(file, test);
  const reading = {now: null};
  let at = 0;
  for (const [i, step] of test.steps.entries()) {
    clock.mono += (step.at - at) * 1e6;
    clock.wall += (step.at - at) * 1e6;
    at = step.at;
    await take(step, v, clock, state, reading).catch((error) => {
      error.message = `step ${i}: ${error.message}`;
      throw error;
    });
  }
}

async function take(step, v, clock, state, reading) {
  if (step.open) reading.now = new Reading(v);
  if (step.cut) reading.now = null;
  if (step.clock !== undefined) clock.wall += step.clock * 1e6;
  if (step.event !== undefined) {
    reading.now?.push(Buffer.from(`event: ${step.event}\ndata: ${JSON.stringify(step.data)}\n\n`));
  }
  if (step.raw !== undefined) {
    for (let n = step.times ?? 1; n > 0; n--) reading.now?.push(Buffer.from(step.raw, 'latin1'));
  }
  if (step.expect !== undefined) expect(step.expect, v, reading);
  if (step.verify !== undefined) {
    state.introspection = step.introspection ?? 'down';
    const {verdict} = await verdictOf(v.verify(remember(v, step.verify)));
    strictEqual(verdict, step.verdict);
  }
}

function expect({closed, seq, entries, ...unknown}, v, reading) {
  deepStrictEqual(unknown, {});
  if (closed !== undefined) strictEqual(reading.now?.closed ?? true, closed, 'closed');
  if (seq !== undefined) strictEqual(v.seq(), seq, 'seq');
  if (entries !== undefined) {
    for (const _ of v.revoked.prune(() => v.clock.instant(v.now())));
    strictEqual(v.stats().entries, entries, 'entries');
  }
}

/** Runs every vector. Gives what was run, and what failed. */
export async function runVectors() {
  const failures = [];
  const counts = {};
  for (const [name, run] of Object.entries({tokens: token, feeds: feed})) {
    const file = read(name);
    counts[name] = 0;
    for (const test of file.tests) {
      try {
        await run(file, test);
      } catch (error) {
        failures.push(`${name} ${test.id}: ${error.message} (${test.comment})`);
      }
      counts[name]++;
    }
  }
  return {failures, summary: `vectors: ${counts.tokens} tokens, ${counts.feeds} feeds, 0 skipped`};
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const {failures, summary} = await runVectors();
  for (const failure of failures) console.error(failure);
  console.log(summary);
  process.exitCode = failures.length === 0 ? 0 : 1;
}
