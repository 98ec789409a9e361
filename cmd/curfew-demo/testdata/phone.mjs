// Drives the code of docs/apps-phone.md. PHONE and BROWSER are the modules to load.
import assert from 'node:assert/strict';

const {PHONE, BROWSER, ISSUER, USERNAME, PASSWORD} = process.env;
const {Account} = await import(PHONE);
const {signIn} = await import(BROWSER);

const kept = new Map();
const keychain = {
  get: async (name) => kept.get(name),
  set: async (name, value) => void kept.set(name, value),
  delete: async (name) => void kept.delete(name),
};
const browser = async (url) => (await signIn(url, {username: USERNAME, password: PASSWORD})).href;
const start = (more = {}) => new Account({
  issuer: ISSUER, clientId: 'shop-phone', redirectUri: 'com.example.shop:/signed-in',
  scope: 'settings offline_access', deviceName: "Anna's phone", browser, keychain, ...more,
});
const devices = ISSUER + '/settings/devices';

let account = start();
await assert.rejects(account.fetch(devices), {code: 'invalid_grant'}); // nobody is signed in yet
await account.signIn();
const device = kept.get('device_id');
assert.equal((await account.fetch(devices)).status, 200);

// The app is started anew: five calls at once need one refresh.
const before = kept.get('refresh_token');
account = start();
const real = globalThis.fetch;
let refreshes = 0;
globalThis.fetch = (input, init) => {
  if (String(init?.body).includes('grant_type=refresh_token')) refreshes++;
  return real(input, init);
};
const answers = await Promise.all(Array.from({length: 5}, () => account.fetch(devices)));
assert.deepEqual(answers.map((a) => a.status), [200, 200, 200, 200, 200]);
assert.equal(refreshes, 1);
assert.notEqual(kept.get('refresh_token'), before);

// Without the server nothing is forgotten.
globalThis.fetch = () => Promise.reject(new TypeError('no network'));
await assert.rejects(start().fetch(devices), TypeError);
await assert.rejects(start().signOut(), TypeError);
globalThis.fetch = real;
assert.ok(kept.has('refresh_token'));

// The answer of another sign-in, or of another server, is not taken.
const swap = (name) => async (url) => {
  const answer = new URL(await browser(url));
  answer.searchParams.set(name, 'http://other.test');
  return answer.href;
};
for (const name of ['state', 'iss']) await assert.rejects(start({browser: swap(name)}).signIn(), {code: 'wrong_answer'});

await account.signOut();
assert.equal(kept.has('refresh_token'), false);
await account.signIn();
assert.equal(kept.get('device_id'), device); // signed in again, the same device
console.log('phone: passed');
