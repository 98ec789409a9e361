// A browser without a screen: keeps the server's cookies, fills its forms in, and says where it leads back to.
//
//   node browser.mjs URL     prints the address that the app is called back at
//
// USERNAME and PASSWORD are in the environment.
import assert from 'node:assert/strict'

const names = { amp: '&', lt: '<', gt: '>', quot: '"' }
const decode = (text) =>
  text.replace(/&(?:#(\d+)|(\w+));/g, (all, code, name) => (code ? String.fromCodePoint(code) : (names[name] ?? all)))
const attributes = (tag) =>
  Object.fromEntries([...tag.matchAll(/([\w-]+)="([^"]*)"/g)].map(([, name, value]) => [name, decode(value)]))

// formOf reads the first form of one of our pages, where every attribute is quoted.
function formOf(page) {
  const form = page.match(/<form ([^>]*)>(.*?)<\/form>/s)
  if (!form) return null
  const fields = new Map()
  for (const [, tag] of form[2].matchAll(/<((?:input|button) [^>]*)>/g)) {
    const { name, type, value = '' } = attributes(tag)
    if (name && type !== 'checkbox') fields.set(name, tag.startsWith('button') ? null : value)
  }
  return { action: attributes(form[1]).action, fields }
}

// A Visitor keeps the server's cookies.
export class Visitor {
  #cookies = new Map()

  async #ask(url, request) {
    const headers = { cookie: [...this.#cookies].map((pair) => pair.join('=')).join('; ') }
    const response = await fetch(url, { redirect: 'manual', ...request, headers })
    for (const line of response.headers.getSetCookie()) {
      const [, name, value] = line.match(/^([^=]+)=([^;]*)/)
      if (/max-age=(0|-)|expires=Thu, 01 Jan 1970/i.test(line)) this.#cookies.delete(name)
      else this.#cookies.set(name, value)
    }
    return response
  }

  // signIn does what a person does who is sent to url, follows redirects and fills the server's forms in, and returns the
  // address that the app is called back at.
  async signIn(start, person) {
    let url = new URL(start)
    let request = {}
    for (let hop = 0; hop < 20; hop++) {
      const response = await this.#ask(url, request)
      request = {}
      if (response.status >= 300 && response.status < 400) {
        const { origin } = url
        url = new URL(response.headers.get('location'), url)
        if (url.origin !== origin) return url
        continue
      }
      const page = await response.text()
      const form = formOf(page)
      assert.ok(response.status === 200 && form && person, `${url} answers ${response.status}: ${page}`)
      const { fields } = form
      if (fields.has('password')) fields.set('username', person.username).set('password', person.password)
      if (fields.has('choice')) fields.set('choice', 'continue')
      const filled = [...fields].filter(([, value]) => value !== null)
      request = { method: 'POST', body: new URLSearchParams(filled) }
      url = new URL(form.action, url)
    }
    throw new Error('too many redirects or pages')
  }

  // follow is that without anything to fill in.
  follow(url) {
    return this.signIn(url)
  }
}

// signIn is that of a browser that starts anew.
export const signIn = (url, person) => new Visitor().signIn(url, person)

if (import.meta.filename === process.argv[1]) {
  const { USERNAME: username, PASSWORD: password } = process.env
  console.log((await signIn(process.argv[2], { username, password })).href)
}
