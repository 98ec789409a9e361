import {deepStrictEqual, match, ok, rejects, strictEqual, throws} from 'node:assert';
import {randomUUID} from 'node:crypto';
import {test} from 'node:test';
import {setFlagsFromString} from 'node:v8';
import {runInNewContext} from 'node:vm';

import {Stream} from '../src/feed.js';
import {Verifier} from '../src/verifier.js';
import {following, quiet, startIssuer, until} from './kit.js';

const limit = {timeout: 60_000};
const feeds = (stub) => stub.requests.filter(({path}) => path === '/feed');

test('a cut stream is resumed after the last event, with a new token and without compression', limit, async (t) => {
  const {stub, v} = await following(t);
  stub.revoke(41, 'user', 'anna');
  await until(() => v.seq() === 41);
  stub.streams[0].destroy();
  await until(() => v.stats().connects === 2);
  stub.say(': a comment\n\n');
  stub.revoke(42, 'user', 'bert');
  await until(() => v.seq() === 42);
  const asked = feeds(stub).map(({url, headers}) => [url, headers['last-event-id'], headers.authorization]);
  deepStrictEqual(asked, [
    ['/feed?subscriber=test-1', '0', 'Bearer own-1'],
    ['/feed?subscriber=test-1', '41', 'Bearer own-2'],
  ]);
  for (const {headers} of feeds(stub))
    deepStrictEqual([headers['accept-encoding'], headers.accept], ['identity', 'text/event-stream']);
  match(v.warnings.join(), /the revocation feed is interrupted/);
});

test('what was applied is acknowledged, the newest number in one request at a time', limit, async (t) => {
  let finish;
  const {stub, v} = await following(t, {}, (s) => {
    const taken = s.routes['/ack'];
    s.routes['/ack'] = (...args) =>
      s.acks.length === 0 && finish === undefined ? (finish = () => taken(...args)) : taken(...args);
  });
  await until(() => finish !== undefined);
  for (let seq = 1; seq <= 500; seq++) stub.revoke(seq, 'device', randomUUID());
  await until(() => v.seq() === 500);
  strictEqual(v.stats().acks, 0);
  finish();
  await until(() => v.stats().acks === 2);
  deepStrictEqual(stub.acks, [
    {subscriber: 'test-1', seq: 0},
    {subscriber: 'test-1', seq: 500},
  ]);
  stub.beat(500); // says nothing new
  stub.revoke(501, 'device', randomUUID());
  await until(() => v.stats().acks === 3);
  deepStrictEqual(
    stub.acks.map(({seq}) => seq),
    [0, 500, 501],
  );
});

test('an acknowledgement that is not taken is sent again, with a new token after a 401', limit, async (t) => {
  const answers = [401, 500];
  const {stub, v} = await following(t, {}, (s) => {
    const taken = s.routes['/ack'];
    s.routes['/ack'] = (req, res, body) =>
      answers.length > 0 ? res.writeHead(answers.shift()).end() : taken(req, res, body);
  });
  await until(() => v.stats().acks === 1);
  const tokens = stub.requests.filter(({path}) => path === '/ack').map(({headers}) => headers.authorization);
  deepStrictEqual(tokens, ['Bearer own-1', 'Bearer own-2', 'Bearer own-2']);
});

test('a log that became shorter is followed, and what is known stays known', limit, async (t) => {
  const {stub, v} = await following(t);
  stub.revoke(100, 'user', 'anna', 5);
  await until(() => v.seq() === 100);
  stub.beat(7);
  await until(() => v.seq() === 7);
  await until(() => stub.acks.at(-1)?.seq === 7);
  await rejects(v.assertAlive({iat_us: 5, sub: 'anna', client_id: 'web'}), {code: 'revoked'});
  match(v.warnings.join(), /became shorter, from 100 to 7/);
});

test('what cannot be read ends the stream, and says nothing', () => {
  const {v, now} = quiet();
  const good = `event: heartbeat\ndata: {"seq":0,"time":${now.wall}}\n\n`;
  for (const bad of [
    'event: revocation\ndata: {"seq":"1"}\n\n',
    'event: revocation\ndata: {"seq":1,"level":7}\n\n',
    'event: revocation\ndata: nonsense\n\n',
    'event: revocation\ndata: {"seq":1,"level":"user","subject":7,"valid_from":1}\n\n',
    'event: heartbeat\ndata: {"seq":0}\n\n',
    'event: heartbeat\ndata: {"seq":0,"time":1e300}\n\n',
    'event: heartbeat\ndata: null\n\n',
    `data: ${'x'.repeat(70_000)}\n\n`,
    'x'.repeat(70_000),
    'event: close\ndata: {"reason":"shutting_down"}\n\n',
    'event: close\ndata: {"reason":"token_revoked"}\n\n',
  ]) {
    const reader = new Stream(v.feed).reader();
    throws(() => reader.push(Buffer.from(bad)), Error, bad);
    strictEqual(v.staleness(), Infinity);
  }
  strictEqual(v.stats().entries, 0);
  new Stream(v.feed).reader().push(Buffer.from(good));
  strictEqual(v.staleness(), 0);
});

test('a listener that throws harms nobody but its process', limit, async (t) => {
  const {stub, v} = await following(t);
  const thrown = new Promise((resolve) => {
    process.prependOnceListener('uncaughtException', resolve);
  });
  v.once('revocation', () => {
    throw new Error('a fault of the listener');
  });
  const others = process.listeners('uncaughtException').slice(1);
  for (const listener of others) process.off('uncaughtException', listener);
  stub.revoke(1, 'user', 'anna', 5);
  strictEqual((await thrown).message, 'a fault of the listener');
  for (const listener of others) process.on('uncaughtException', listener);
  stub.revoke(2, 'user', 'bert', 5);
  await until(() => v.seq() === 2);
  strictEqual(v.stats().connects, 1);
});

test("a wrong clock is said once, and tokens are judged by the issuer's", limit, async (t) => {
  const {stub, v} = await following(t, {}, (s) => {
    s.beats = false;
  });
  await until(() => stub.streams.length > 0);
  const off = 120;
  for (let i = 0; i < 3; i++) stub.beat(0, (Date.now() + off * 1000) * 1000);
  await until(() => v.staleness() < 30 && v.warnings.length > 0);
  strictEqual(v.warnings.filter((w) => w.includes('the clock of this machine is off by')).length, 1);
  ok(Math.abs(v.stats().clockOffset - off) < 20);
  const now = Math.floor(Date.now() / 1000) + off;
  await v.verify(stub.mint({iat: now, exp: now + 60}));
  await rejects(v.verify(stub.mint({iat: now - 100, exp: now - 30})), {code: 'expired'});
  await rejects(v.verify(stub.mint({iat: now + 60, exp: now + 90})), {code: 'not_yet_valid'});
});

test('close ends a stream whose answer the collector has taken', limit, async () => {
  const stub = await startIssuer();
  const v = new Verifier({issuer: stub.url, clientId: 'api', clientSecret: 's'});
  await until(() => v.staleness() < 30);
  setFlagsFromString('--expose-gc');
  const collect = runInNewContext('gc');
  for (let i = 0; i < 20; i++) {
    collect();
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
  await v.close();
  await stub.close();
});
