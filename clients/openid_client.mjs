// openid-client against Curfew: the authorization code grant with PKCE, as a confidential client. Started by ./run.
import assert from 'node:assert/strict'
import * as client from 'openid-client'
import { signIn } from './browser.mjs'

const { ISSUER, USERNAME, PASSWORD, SITE_ID, SITE_SECRET, REDIRECT_URI } = process.env

const config = await client.discovery(new URL(ISSUER), SITE_ID, undefined, client.ClientSecretBasic(SITE_SECRET), {
  algorithm: 'oauth2',
  execute: [client.allowInsecureRequests], // loopback, no TLS
})
const verifier = client.randomPKCECodeVerifier()
const state = client.randomState()
const url = client.buildAuthorizationUrl(config, {
  redirect_uri: REDIRECT_URI,
  scope: 'settings profile',
  code_challenge: await client.calculatePKCECodeChallenge(verifier),
  code_challenge_method: 'S256',
  state,
})
const answer = await signIn(url, { username: USERNAME, password: PASSWORD })
await assert.rejects(
  client.authorizationCodeGrant(config, answer, { pkceCodeVerifier: verifier, expectedState: client.randomState() }),
  { code: 'OAUTH_INVALID_RESPONSE' },
)
const first = await client.authorizationCodeGrant(config, answer, { pkceCodeVerifier: verifier, expectedState: state })
assert.ok(first.refresh_token && first.device_id && first.expires_in > 0)

const second = await client.refreshTokenGrant(config, first.refresh_token)
assert.notEqual(second.refresh_token, first.refresh_token)
const devices = await client.fetchProtectedResource(
  config,
  second.access_token,
  new URL(`${ISSUER}/settings/devices`),
  'GET',
)
assert.equal(devices.status, 200)
await client.tokenRevocation(config, second.refresh_token)
await assert.rejects(client.refreshTokenGrant(config, second.refresh_token), { error: 'invalid_grant' })
console.log('openid-client: passed')
