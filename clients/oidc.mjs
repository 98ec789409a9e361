// OpenID Connect as stock clients do it out of the box: openid-client 6, and 5 (the one in next-auth 4). Sign-in, ID token,
// userinfo, refresh, log-out. Started by ./run.
import assert from 'node:assert/strict'
import * as v6 from 'openid-client'
import * as v5 from 'openid-client5'
import { Visitor } from './browser.mjs'

const { ISSUER, USERNAME, PASSWORD, RP_ID, RP_SECRET, REDIRECT_URI, LOGOUT_URI } = process.env
const person = { username: USERNAME, password: PASSWORD }

async function openidClient6() {
  const visitor = new Visitor()
  const config = await v6.discovery(new URL(ISSUER), RP_ID, RP_SECRET, undefined, { execute: [v6.allowInsecureRequests] })
  const verifier = v6.randomPKCECodeVerifier()
  const [state, nonce] = [v6.randomState(), v6.randomNonce()]
  const url = v6.buildAuthorizationUrl(config, {
    redirect_uri: REDIRECT_URI,
    scope: 'openid profile email',
    code_challenge: await v6.calculatePKCECodeChallenge(verifier),
    code_challenge_method: 'S256',
    state,
    nonce,
  })
  const answer = await visitor.signIn(url, person)
  const expected = { pkceCodeVerifier: verifier, expectedState: state, expectedNonce: nonce, idTokenExpected: true }
  const tokens = await v6.authorizationCodeGrant(config, answer, expected)
  assert.equal(tokens.claims().sid, tokens.device_id)
  const info = await v6.fetchUserInfo(config, tokens.access_token, tokens.claims().sub)
  assert.equal(info.email, 'alice@example.com')
  const next = await v6.refreshTokenGrant(config, tokens.refresh_token)
  assert.equal(next.claims().sub, tokens.claims().sub)
  await assert.rejects(v6.fetchUserInfo(config, tokens.id_token, tokens.claims().sub), 'an ID token opened a door')
  const out = v6.buildEndSessionUrl(config, {
    id_token_hint: next.id_token,
    post_logout_redirect_uri: LOGOUT_URI,
    state: 'bye',
  })
  assert.equal((await visitor.follow(out)).href, `${LOGOUT_URI}?state=bye`)
  await assert.rejects(v6.refreshTokenGrant(config, next.refresh_token), { error: 'invalid_grant' })
}

async function openidClient5() {
  const visitor = new Visitor()
  const issuer = await v5.Issuer.discover(ISSUER)
  const client = new issuer.Client({ client_id: RP_ID, client_secret: RP_SECRET, redirect_uris: [REDIRECT_URI] }) // RS256, no PKCE
  const [state, nonce] = [v5.generators.state(), v5.generators.nonce()]
  const url = client.authorizationUrl({ scope: 'openid profile email', response_type: 'code', state, nonce })
  const answer = await visitor.signIn(url, person)
  const params = client.callbackParams(answer.href)
  const tokens = await client.callback(REDIRECT_URI, params, { state, nonce, response_type: 'code' })
  assert.equal(tokens.claims().sid, tokens.device_id)
  assert.equal((await client.userinfo(tokens)).preferred_username, USERNAME)
  const next = await client.refresh(tokens)
  assert.equal(next.claims().auth_time, tokens.claims().auth_time)
  const out = client.endSessionUrl({ id_token_hint: next, post_logout_redirect_uri: LOGOUT_URI })
  assert.equal((await visitor.follow(out)).href, LOGOUT_URI)
  await assert.rejects(client.refresh(next), { error: 'invalid_grant' })
}

for (const [name, run] of Object.entries({ openidClient6, openidClient5 })) {
  await run()
  console.log(`${name}, OpenID Connect: passed`)
}
