// On mocked timers and answers in memory, and in a file of its own: Node's fetch would meet the mocks too.
import {ok, strictEqual} from 'node:assert';
import {test} from 'node:test';

import {Verifier} from '../src/verifier.js';

const limit = {timeout: 60_000};

/** Mocks the timers, and gives them the refresh() that Node's mocks have only in name. */
function mockTimers(t) {
  t.mock.timers.enable({apis: ['setTimeout', 'setInterval']});
  const {setTimeout: set, clearTimeout: clear} = globalThis;
  globalThis.setTimeout = (run, ms) => {
    const timer = {
      id: set(run, ms),
      unref: () => timer,
      refresh() {
        clear(timer.id);
        timer.id = set(run, ms);
      },
    };
    return timer;
  };
  globalThis.clearTimeout = (timer) => clear(timer?.id ?? timer);
  t.after(() => Object.assign(globalThis, {setTimeout: set, clearTimeout: clear}));
}

/** Runs a verifier on a mocked clock against answers in memory, and counts the requests for the feed. */
async function requestsIn(t, minutes, answer) {
  mockTimers(t);
  const now = {mono: 0, wall: 1_795_209_600e6};
  const url = 'https://id.example.com';
  let feeds = 0,
    tokens = 0;
  const fetch = async (address, {signal}) => {
    const path = new URL(address).pathname;
    if (path.startsWith('/.well-known')) {
      return Response.json({
        issuer: url,
        token_endpoint: `${url}/token`,
        introspection_endpoint: `${url}/introspect`,
        jwks_uri: `${url}/keys`,
        revocation_feed_endpoint: `${url}/feed`,
        revocation_ack_endpoint: `${url}/ack`,
      });
    }
    if (path === '/token') return Response.json({access_token: `own-${++tokens}`, expires_in: 300});
    if (path === '/ack') return new Response(null, {status: 204});
    if (path !== '/feed') return new Response(null, {status: 503});
    return answer(++feeds, signal, now);
  };
  const v = new Verifier({issuer: url, clientId: 'api', clientSecret: 's'}, {fetch, now: () => ({...now})});
  v.on('warning', () => {});
  for (let i = 0; i < minutes * 600; i++) {
    now.mono += 100_000;
    now.wall += 100_000;
    t.mock.timers.tick(100);
    for (let k = 0; k < 5; k++) await new Promise(setImmediate);
  }
  const staleness = v.staleness();
  const closed = v.close();
  for (let k = 0; k < 20; k++) await new Promise(setImmediate);
  await closed;
  return {feeds, tokens, staleness};
}

/** A stream of which the test writes the bytes. */
function stream(signal, write) {
  return new Response(
    new ReadableStream({
      start(controller) {
        signal.addEventListener('abort', () => controller.error(signal.reason));
        write(
          (text) => signal.aborted || controller.enqueue(new TextEncoder().encode(text)),
          () => controller.close(),
        );
      },
    }),
  );
}

const beat = (now) => `event: heartbeat\ndata: ${JSON.stringify({seq: 0, time: now.wall})}\n\n`;
const tokenExpired = 'event: close\ndata: {"reason":"token_expired"}\n\n';

for (const [name, answer] of Object.entries({
  'nothing at all': () => Promise.reject(new TypeError('fetch failed')),
  'a refusal': () => new Response(null, {status: 403}),
  'a new token each time': (n, signal) => stream(signal, (say) => say(tokenExpired)),
  'a heartbeat, then a new token': (n, signal, now) => stream(signal, (say) => say(beat(now) + tokenExpired)),
  'a portal': (n, signal) =>
    stream(signal, (say, end) => {
      say('<html>\n\n');
      end();
    }),
})) {
  test(`it waits between its tries, longer each time: ${name}`, limit, async (t) => {
    const {feeds} = await requestsIn(t, 5, answer);
    ok(feeds >= 20 && feeds <= 55, `${feeds} requests in five minutes`);
  });
}

test('a stream that says nothing is given up', limit, async (t) => {
  const {feeds, staleness} = await requestsIn(t, 5, (n, signal) => stream(signal, () => {}));
  ok(feeds >= 8 && feeds <= 16, `${feeds} requests in five minutes`);
  strictEqual(staleness, Infinity);
});

test(
  'a stream that speaks is kept, and resumed at once with a new token when only that is over',
  limit,
  async (t) => {
    const {feeds, tokens, staleness} = await requestsIn(t, 5, (n, signal, now) =>
      stream(signal, (say) => {
        say(beat(now));
        for (let s = 5; s < 60; s += 5) setTimeout(() => say(beat(now)), s * 1000);
        setTimeout(() => say(tokenExpired), 60_000);
      }),
    );
    ok(feeds >= 5 && feeds <= 6 && tokens === feeds, `${feeds} requests, ${tokens} tokens`);
    ok(staleness <= 6, `stale for ${staleness}`);
  },
);
