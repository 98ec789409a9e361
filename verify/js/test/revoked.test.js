import {deepStrictEqual, ok, strictEqual} from 'node:assert';
import {randomInt, randomUUID} from 'node:crypto';
import {test} from 'node:test';

import {newValidFrom, Revoked} from '../src/revoked.js';
import {EventReader, maxLine} from '../src/events.js';
import {Anchor, AskAnew, Clock} from '../src/clock.js';

const never = {micros: 0, expires: 2 ** 32 - 1, held: 2 ** 32 - 1};
const start = {server: 0, local: 0};
const pruneAll = (index, now) => [...index.prune(() => now)];

test('the index says what a plain map says', () => {
  const index = new Revoked();
  const model = new Map();
  const pick = (list) => list[randomInt(list.length)];
  // Small numbers of subjects, so that they meet again; one that is no UUID, and one that is only nearly one.
  const devices = [...Array.from({length: 3000}, () => randomUUID()), 'phone', randomUUID().toUpperCase()];
  const users = [...Array.from({length: 500}, () => randomUUID()), 'anna'];
  const clients = ['web', 'tv', randomUUID()];
  for (let i = 0; i < 20_000; i++) {
    const level = pick(['device', 'device', 'user', 'client', 'everyone', 'something new']);
    const subject = level === 'everyone' ? '' : pick({device: devices, user: users, client: clients}[level] ?? ['x']);
    const micros = randomInt(level === 'everyone' ? 50 : 100_000);
    index.apply(level, subject, {...never, micros}, start);
    model.set(`${level} ${subject}`, Math.max(micros, model.get(`${level} ${subject}`) ?? 0));
    if (i % 20 !== 0) continue;
    const claims = {
      device_id: pick([...devices, undefined]),
      sub: pick(users),
      client_id: pick(clients),
      iat_us: randomInt(1, 120_000),
    };
    const dead = [`device ${claims.device_id}`, `user ${claims.sub}`, `client ${claims.client_id}`, 'everyone '].some(
      (name) => claims.iat_us <= (model.get(name) ?? 0),
    );
    strictEqual(index.revoked(index.belongs(claims)), dead, JSON.stringify(claims));
  }
  strictEqual(index.entries, [...model.values()].filter((micros) => micros > 0).length);
});

test('what ends no token any more is forgotten, and no more than that', () => {
  const index = new Revoked();
  const [short, long] = [
    Array.from({length: 5000}, () => randomUUID()),
    Array.from({length: 200}, () => randomUUID()),
  ];
  const lasting = (seconds) => newValidFrom(1e6, (1 + seconds) * 1e6, start);
  for (const id of short) index.apply('device', id, lasting(100), start);
  for (const id of long) index.apply('device', id, lasting(1000), start);
  for (const [level, subject] of [
    ['client', 'web'],
    ['everyone', ''],
    ['device', 'phone'],
  ])
    index.apply(level, subject, lasting(100), start);
  const dead = (id) => index.revoked(index.belongs({device_id: id, sub: 'anna', client_id: 'other', iat_us: 1e6}));
  // Either clock alone is not enough.
  for (const now of [
    {server: 5000, local: 50},
    {server: 50, local: 5000},
  ]) {
    pruneAll(index, now);
    strictEqual(index.entries, 5203);
  }
  pruneAll(index, {server: 500, local: 500});
  strictEqual(index.entries, 200);
  ok(long.every(dead));
  ok(!short.some(dead));
  pruneAll(index, {server: 5000, local: 5000});
  strictEqual(index.entries, 0);
});

test('an event without an end is never forgotten', () => {
  for (const expires of [0, -1, 2 ** 53]) {
    const index = new Revoked();
    index.apply('user', 'anna', newValidFrom(5, expires, start), start);
    pruneAll(index, {server: 2 ** 32 - 2, local: 2 ** 32 - 2});
    strictEqual(index.entries, 1);
  }
});

const stream =
  'data: first\n\nevent: a\ndata: 1\ndata:2\nid: 7\n: comment\n\ndata\n\nevent: lost\n\n' +
  'retry: 5\nevent: ü\ndata: 🙂\n\ndata: cut off';
const expected = [
  ['', 'first'],
  ['a', '1\n2'],
  ['', ''],
  ['ü', '🙂'],
];

function read(bytes, sizes) {
  const got = [];
  const reader = new EventReader((kind, data) => got.push([kind, data]));
  for (let at = 0; at < bytes.length;) {
    const size = sizes();
    reader.push(bytes.subarray(at, at + size));
    at += size;
  }
  return got;
}

for (const [name, end] of Object.entries({LF: '\n', CR: '\r', CRLF: '\r\n'})) {
  for (const bom of ['', '\uFEFF']) {
    test(`an event stream with ${name}${bom && ' and a byte order mark'} reads the same however it is cut`, () => {
      const bytes = Buffer.from(bom + stream.replaceAll('\n', end));
      for (const sizes of [() => bytes.length, () => 1, () => 2, () => randomInt(1, 7)])
        deepStrictEqual(read(bytes, sizes), expected);
    });
  }
}

test('an event stream is bounded', () => {
  const tooLong = (chunk, times) => {
    const reader = new EventReader(() => {});
    for (let i = 0; i < times; i++) reader.push(Buffer.from(chunk));
  };
  for (const [chunk, times] of [
    ['a'.repeat(1000), 70],
    [`${'a'.repeat(maxLine + 1)}\n`, 1],
    [`data: ${'b'.repeat(1000)}\n`, 70],
  ]) {
    let error;
    try {
      tooLong(chunk, times);
    } catch (e) {
      error = e;
    }
    ok(error, chunk.slice(0, 20));
  }
  tooLong(`data: ${'b'.repeat(1000)}\n\n`, 500);
});

// A machine was suspended, or its wall clock set: the knowledge is as old as the worse of its clocks says.
test('clocks that jump make nothing younger', () => {
  const s = 1e6,
    at = (mono, wall) => ({mono: mono * s, wall: (1_795_209_600 + wall) * s});
  const clock = new Clock(30);
  const anchor = new Anchor(at(1, 1));
  const beat = (a, made, now) => a.hear(clock, (1_795_209_600 + made) * s, now);
  beat(anchor, 1.1, at(1.2, 1.2));
  for (const [now, age] of [
    [at(11, 11), 10],
    [at(11, 3611), 3610],
    [at(11, 11 - 3600), 10],
  ]) {
    strictEqual(clock.age(now) / s, age);
    strictEqual(clock.time(now) / s, 1_795_209_601.1 + age);
  }
  const thrown = (a, made, now) => {
    try {
      beat(a, made, now);
    } catch (error) {
      ok(error instanceof AskAnew);
      return error.message;
    }
    return '';
  };
  ok(thrown(anchor, 6, at(12, 3612)).startsWith('heartbeats come late'));
  ok(clock.age(at(12, 3612)) >= 3600 * s);
  const next = new Anchor(at(20, 20));
  beat(next, 20, at(20, 20));
  ok(thrown(next, 25, at(25, 25 - 3600)).includes('went ahead'));
  ok(thrown(next, 3600, at(30, 30)).includes('went ahead'));
  strictEqual(clock.age(at(30, 30)) / s, 10);
});
