// express-openid-connect, as its manual shows it: sign-in, a page that wants one, log-out at the server too. Started by ./run.
import assert from 'node:assert/strict'
import express from 'express'
import oidc from 'express-openid-connect'
import { Visitor } from './browser.mjs'

const { ISSUER, USERNAME, PASSWORD, RP_ID, RP_SECRET, EXPRESS_PORT } = process.env
const baseURL = `http://127.0.0.1:${EXPRESS_PORT}`

const app = express()
app.use(
  oidc.auth({
    issuerBaseURL: ISSUER,
    baseURL,
    clientID: RP_ID,
    clientSecret: RP_SECRET,
    secret: RP_SECRET,
    authRequired: false,
    idpLogout: true,
    authorizationParams: { response_type: 'code', scope: 'openid profile email' },
  }),
)
app.get('/', (request, response) => response.send(request.oidc.isAuthenticated() ? 'in' : 'out'))
app.get('/me', oidc.requiresAuth(), async (request, response) =>
  response.json({ ...(await request.oidc.fetchUserInfo()), sid: request.oidc.idTokenClaims.sid }),
)
const server = app.listen(EXPRESS_PORT, '127.0.0.1')
await new Promise((resolve) => server.once('listening', resolve))

const visitor = new Visitor({ home: [baseURL] })
const me = await visitor.open(`${baseURL}/me`, { username: USERNAME, password: PASSWORD })
const info = JSON.parse(me)
assert.equal(info.email, 'alice@example.com')
assert.ok(info.sid)
assert.equal(await visitor.open(`${baseURL}/logout`), 'out')
assert.equal(await visitor.open(baseURL), 'out')
server.close()
server.closeAllConnections()
console.log('express-openid-connect: passed')
