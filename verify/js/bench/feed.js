// From the sign-out to the refusal: `npm run bench:feed [SIGN_OUTS]`. Ten verifiers in processes of their own.
//
// A time counts from before the request that signs out is sent until the revocation counts for verify, in milliseconds:
// more than the time from the commit. Everything runs on one machine, so that one monotonic clock serves all processes.
import {strictEqual} from 'node:assert';
import {fork} from 'node:child_process';
import {once} from 'node:events';
import {fileURLToPath} from 'node:url';

import {createVerifier} from '../src/index.js';
import {startCurfew} from '../test/curfew.js';

const processes = 10;
const pause = 50;
const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

/** Reports when each revocation began to count, and that it does. */
async function follow() {
  const v = createVerifier(JSON.parse(process.env.VERIFIER));
  const seen = [];
  v.on('revocation', ({subject}) => seen.push([subject, String(process.hrtime.bigint())]));
  while (v.staleness() > 60) await sleep(10);
  process.send('ready');
  const [tokens] = await once(process, 'message');
  for (const token of tokens) await v.verify(token);
  process.send('verified');
  while (seen.length < tokens.length) await sleep(20);
  for (const token of tokens) {
    const code = await v.verify(token).then(
      () => 'accepted',
      (error) => error.code,
    );
    strictEqual(code, 'revoked');
  }
  v.close();
  process.send(seen, () => process.disconnect());
}

async function measure(signOuts, t) {
  const curfew = await startCurfew(t, {
    direct: true,
    more: {
      CURFEW_MAX_DEVICES_PER_USER: '1000',
      CURFEW_LIMIT_SIGN_INS: '1000000',
      CURFEW_LIMIT_PER_ADDRESS: '1000000',
      CURFEW_HASH_MEMORY: '64',
      CURFEW_HASH_TIME: '1',
    },
  });
  const VERIFIER = JSON.stringify({issuer: curfew.issuer, clientId: 'api', clientSecret: curfew.secret});
  const children = Array.from({length: processes}, () =>
    fork(fileURLToPath(import.meta.url), {env: {...process.env, VERIFIER}}),
  );
  t.after(() => children.forEach((child) => child.kill()));
  const answers = () => Promise.all(children.map(async (child) => (await once(child, 'message'))[0]));
  const ready = answers();
  const grants = [];
  for (let i = 0; i < signOuts; i++) grants.push(await curfew.signIn());
  await ready;
  const verified = answers();
  for (const child of children) child.send(grants.map(({access_token: token}) => token));
  await verified;
  const reports = answers(),
    began = new Map();
  for (const {device_id: device, refresh_token: token} of grants) {
    began.set(device, process.hrtime.bigint());
    const body = new URLSearchParams({token, client_id: 'web'});
    const answer = await fetch(`${curfew.issuer}/oauth2/revoke`, {method: 'POST', body});
    strictEqual(answer.status, 200);
    await answer.arrayBuffer();
    await sleep(pause);
  }
  const took = (await reports)
    .flat()
    .filter(([subject]) => began.has(subject))
    .map(([subject, at]) => Number(BigInt(at) - began.get(subject)) / 1e6)
    .sort((a, b) => a - b);
  strictEqual(took.length, processes * signOuts);
  const at = (share) => took[Math.floor(share * took.length)].toFixed(1);
  console.log(
    `${processes} processes, ${signOuts} sign-outs: p50 ${at(0.5)} ms, p99 ${at(0.99)} ms, ` +
      `slowest ${took.at(-1).toFixed(1)} ms`,
  );
}

if (process.send) await follow();
else {
  const ends = [];
  try {
    await measure(Number(process.argv[2] ?? 200), {after: (end) => ends.push(end)});
  } finally {
    for (const end of ends.reverse()) await end();
  }
}
