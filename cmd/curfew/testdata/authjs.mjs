// An app with the configuration of docs/apps-openid.md, as NextAuth and its kin have Auth.js work.
import { createServer } from 'node:http'
import { Auth, skipCSRFCheck } from '@auth/core'
import { getToken } from '@auth/core/jwt'
import config, { logoutURL } from './auth.config.mjs'

const { ORIGIN, PORT } = process.env

// ask has Auth.js answer a request with the browser's cookies.
const ask = (req, path, init = {}, more = {}) =>
  Auth(new Request(ORIGIN + path, { ...init, headers: { ...init.headers, cookie: req.headers.cookie ?? '' } }), {
    ...config,
    ...more,
  })

const routes = {
  '/': async (req, res) => {
    const answer = await ask(req, '/auth/session')
    const session = await answer.json()
    res.setHeader('set-cookie', answer.headers.getSetCookie())
    if (!session) return res.writeHead(303, { location: '/auth/signin' }).end()
    res.end(`${session.user.name} ${session.user.email}`)
  },
  '/logout': async (req, res) => {
    const token = await getToken({ req: { headers: new Headers(req.headers) }, secret: config.secret })
    const answer = await ask(req, '/auth/signout', { method: 'POST' }, { skipCSRFCheck })
    res.setHeader('set-cookie', answer.headers.getSetCookie())
    res.writeHead(303, { location: logoutURL(token, ORIGIN + '/bye') }).end()
  },
  '/bye': (req, res) => res.end('You are signed out.'),
}

createServer(async (req, res) => {
  const route = routes[new URL(req.url, ORIGIN).pathname]
  if (route) return route(req, res)
  const chunks = []
  for await (const chunk of req) chunks.push(chunk)
  const answer = await ask(req, req.url, {
    method: req.method,
    headers: { 'content-type': req.headers['content-type'] ?? '' },
    body: req.method === 'POST' ? Buffer.concat(chunks) : undefined,
  })
  for (const [name, value] of answer.headers) res.setHeader(name, value)
  res.setHeader('set-cookie', answer.headers.getSetCookie())
  res.writeHead(answer.status).end(await answer.text())
}).listen(PORT, '127.0.0.1')
