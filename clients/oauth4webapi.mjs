// oauth4webapi against Curfew: discovery, password, refresh, introspection, revocation, and RFC 9068 validation of the
// access token through the published keys. Started by ./run.
import assert from 'node:assert/strict'
import * as oauth from 'oauth4webapi'

const { ISSUER, USERNAME, PASSWORD, WEB_ID, API_ID, API_SECRET } = process.env
const options = { [oauth.allowInsecureRequests]: true } // loopback, no TLS

const issuer = new URL(ISSUER)
const as = await oauth
  .discoveryRequest(issuer, { ...options, algorithm: 'oauth2' })
  .then((response) => oauth.processDiscoveryResponse(issuer, response))

const web = { client_id: WEB_ID }
const api = { client_id: API_ID }
const secret = oauth.ClientSecretBasic(API_SECRET)

const signedIn = await oauth
  .genericTokenEndpointRequest(as, web, oauth.None(), 'password', { username: USERNAME, password: PASSWORD }, options)
  .then((response) => oauth.processGenericTokenEndpointResponse(as, web, response))
assert.ok(signedIn.refresh_token && signedIn.device_id)

const validate = (token) =>
  oauth.validateJwtAccessToken(
    as,
    new Request('http://resource.test/', { headers: { authorization: `Bearer ${token}` } }),
    as.issuer,
    options,
  )
const claims = await validate(signedIn.access_token)
assert.equal(claims.device_id, signedIn.device_id)
assert.equal(claims.client_id, WEB_ID)

const introspect = (token) =>
  oauth
    .introspectionRequest(as, api, secret, token, options)
    .then((response) => oauth.processIntrospectionResponse(as, api, response))
assert.equal((await introspect(signedIn.access_token)).active, true)

const refreshed = await oauth
  .refreshTokenGrantRequest(as, web, oauth.None(), signedIn.refresh_token, options)
  .then((response) => oauth.processRefreshTokenResponse(as, web, response))
assert.notEqual(refreshed.refresh_token, signedIn.refresh_token)
await validate(refreshed.access_token)

await oauth
  .revocationRequest(as, web, oauth.None(), refreshed.refresh_token, options)
  .then(oauth.processRevocationResponse)
assert.equal((await introspect(refreshed.access_token)).active, false)
await assert.rejects(
  oauth
    .refreshTokenGrantRequest(as, web, oauth.None(), refreshed.refresh_token, options)
    .then((response) => oauth.processRefreshTokenResponse(as, web, response)),
  { error: 'invalid_grant' },
)

const own = await oauth
  .clientCredentialsGrantRequest(as, api, secret, { scope: 'revocations' }, options)
  .then((response) => oauth.processClientCredentialsResponse(as, api, response))
assert.equal((await validate(own.access_token)).sub, API_ID)
console.log('oauth4webapi: passed')
