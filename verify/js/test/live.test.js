// Against a real Curfew, behind a proxy. The judge is the receipt: what it says was applied must be refused here.
import {deepStrictEqual, ok, rejects, strictEqual} from 'node:assert';
import {test} from 'node:test';

import {createVerifier} from 'curfew-verify';

import {startCurfew} from './curfew.js';
import {until} from './kit.js';

test('a sign-out whose receipt says applied is refused, whatever the proxy does', {timeout: 600_000}, async (t) => {
  const curfew = await startCurfew(t);
  const {proxy} = curfew;
  const v = createVerifier({
    issuer: curfew.issuer,
    clientId: 'api',
    clientSecret: curfew.secret,
    subscriber: 'live-1',
    whenStale: 'introspect',
  });
  v.on('warning', () => {});
  t.after(() => v.close());
  await until(() => v.staleness() < 30);
  const live = () => v.stats().acks > 0;
  await until(live);

  /** Signs in, is accepted, signs out, and reads the receipt. */
  const round = async (...what) => {
    const {access_token: token, device_id: device} = await curfew.signIn();
    const claims = await v.verify(token);
    strictEqual(claims.device_id, device);
    const args = what.map((arg) => (arg === 'ID' ? device : arg));
    let receipt = await curfew.command(['revoke', ...args, '--wait=10s']);
    for (let tries = 1; receipt.applied.acknowledged === 0 && tries < 6; tries++) // a slow machine
      receipt = await curfew.command(['revoke', ...args, '--wait=10s']);
    const verdict = await v.verify(token).then(
      () => 'ok',
      (error) => error.code,
    );
    ok(receipt.applied.subscribers === 1, JSON.stringify(receipt));
    if (receipt.applied.acknowledged === 1) strictEqual(verdict, 'revoked');
    return {token, receipt, claims};
  };

  await t.test('an ID token is no access token', async () => {
    const {id_token: idToken, access_token: token} = await curfew.signIn();
    strictEqual((await v.verify(token)).client_id, 'web');
    await rejects(v.verify(idToken), {code: 'type', status: 401});
  });

  await t.test('each level', async () => {
    for (const what of [
      ['device', 'ID'],
      ['user', 'anna'],
      ['client', 'web'],
      ['everyone', '--yes'],
    ]) {
      const {receipt} = await round(...what);
      strictEqual(receipt.applied.acknowledged, 1, JSON.stringify(receipt));
    }
  });

  await t.test('everything held up for a while', async () => {
    proxy.delay = 300;
    const {receipt} = await round('device', 'ID');
    strictEqual(receipt.applied.acknowledged, 1, JSON.stringify(receipt));
    ok(receipt.applied.slowest_ms >= 300, JSON.stringify(receipt));
    proxy.delay = 0;
  });

  await t.test('the stream cut again and again', async () => {
    let seen = 0; // however slow the machine, a stream is there before it is cut
    const cutting = setInterval(() => {
      if (v.stats().connects > seen) proxy.cut();
      seen = v.stats().connects;
    }, 200);
    try {
      for (let i = 0; i < 3; i++) await round('device', 'ID');
    } finally {
      clearInterval(cutting);
    }
    await until(() => v.staleness() < 5);
  });

  await t.test('signed out while nothing comes through, and while the server restarts', async () => {
    const {access_token: token, device_id: device} = await curfew.signIn();
    await v.verify(token);
    proxy.down = true;
    proxy.cut();
    await curfew.command(['revoke', 'device', device, '--wait=0s']);
    await curfew.restart();
    proxy.down = false;
    const heard = new Promise((resolve) => v.on('revocation', (event) => event.subject === device && resolve(event)));
    strictEqual((await heard).level, 'device');
    await rejects(v.verify(token), {code: 'revoked'});
    await until(() => v.staleness() < 30);
    const {receipt} = await round('device', 'ID');
    strictEqual(receipt.applied.acknowledged, 1);
  });

  await t.test('stale: introspection answers in the place of the feed', async () => {
    const {access_token: token, device_id: device} = await curfew.signIn();
    const other = createVerifier({
      issuer: curfew.issuer,
      clientId: 'api',
      clientSecret: curfew.secret,
      subscriber: 'live-2',
      bound: 1e-6,
      whenStale: 'introspect',
    });
    other.on('warning', () => {});
    await other.verify(token);
    ok(other.stats().introspected === 1);
    await other.close();
    await curfew.command(['revoke', 'device', device, '--wait=0s']);
    await rejects(other.verify(token), {code: 'revoked'});
  });

  deepStrictEqual(
    [...proxy.compressed].filter((path) => path === '/oauth2/revocations'),
    [],
  );
  ok(proxy.compressed.has('/oauth2/token'), 'the proxy compresses what asks for it');
});
