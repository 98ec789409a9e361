// oauth4webapi against Curfew: the authorization code grant with PKCE, as a public client. Started by ./run.
import assert from 'node:assert/strict'
import * as oauth from 'oauth4webapi'
import { signIn } from './browser.mjs'

const { ISSUER, USERNAME, PASSWORD, APP_ID, REDIRECT_URI } = process.env
const options = { [oauth.allowInsecureRequests]: true } // loopback, no TLS

const issuer = new URL(ISSUER)
const as = await oauth
  .discoveryRequest(issuer, { ...options, algorithm: 'oauth2' })
  .then((response) => oauth.processDiscoveryResponse(issuer, response))
assert.deepEqual(as.code_challenge_methods_supported, ['S256'])
assert.equal(as.authorization_response_iss_parameter_supported, true)

const app = { client_id: APP_ID }

// callback is one authorization request, up to the answer's checks: state, iss, error.
async function callback(verifier, more = {}) {
  const state = oauth.generateRandomState()
  const url = new URL(as.authorization_endpoint)
  url.search = new URLSearchParams({
    response_type: 'code',
    client_id: APP_ID,
    redirect_uri: REDIRECT_URI,
    scope: 'settings profile',
    state,
    code_challenge: await oauth.calculatePKCECodeChallenge(verifier),
    code_challenge_method: 'S256',
    ...more,
  })
  return oauth.validateAuthResponse(as, app, await signIn(url, { username: USERNAME, password: PASSWORD }), state)
}

const exchange = (answer, verifier, more = {}) =>
  oauth
    .authorizationCodeGrantRequest(as, app, oauth.None(), answer, REDIRECT_URI, verifier, {
      ...options,
      additionalParameters: more,
    })
    .then((response) => oauth.processAuthorizationCodeResponse(as, app, response))
const refresh = (token) =>
  oauth
    .refreshTokenGrantRequest(as, app, oauth.None(), token, options)
    .then((response) => oauth.processRefreshTokenResponse(as, app, response))

const verifier = oauth.generateRandomCodeVerifier()
const answer = await callback(verifier)
await assert.rejects(exchange(answer, oauth.generateRandomCodeVerifier()), { error: 'invalid_grant' })
const first = await exchange(answer, verifier, { device_name: 'Kitchen' }) // the wrong verifier has spent nothing
assert.ok(first.refresh_token && first.device_id)
const second = await refresh(first.refresh_token)
assert.notEqual(second.refresh_token, first.refresh_token)

// The same device again: its older tokens end, its GUID stays.
const again = oauth.generateRandomCodeVerifier()
const third = await exchange(await callback(again), again, { device_id: first.device_id })
assert.equal(third.device_id, first.device_id)
await assert.rejects(refresh(second.refresh_token), { error: 'invalid_grant' })

// A code that comes twice ends what it made.
const once = oauth.generateRandomCodeVerifier()
const twice = await callback(once)
const stolen = await exchange(twice, once)
await assert.rejects(exchange(twice, once), { error: 'invalid_grant' })
await assert.rejects(refresh(stolen.refresh_token), { error: 'invalid_grant' })

// An error comes back to the app, where the library reads it.
await assert.rejects(callback(oauth.generateRandomCodeVerifier(), { prompt: 'none' }), { error: 'login_required' })
await assert.rejects(callback(oauth.generateRandomCodeVerifier(), { code_challenge_method: 'plain' }), {
  error: 'invalid_request',
})
console.log('oauth4webapi, code: passed')
