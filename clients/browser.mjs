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

// A Visitor keeps cookies by host. home are the origins of apps that it goes on to as well; any other address ends a walk.
export class Visitor {
  #cookies = new Map()
  #home

  constructor({ home = [] } = {}) {
    this.#home = home
  }

  async #ask(url, request) {
    const host = this.#cookies.get(url.origin) ?? new Map()
    this.#cookies.set(url.origin, host)
    const headers = { cookie: [...host].map((pair) => pair.join('=')).join('; ') }
    const response = await fetch(url, { redirect: 'manual', ...request, headers })
    for (const line of response.headers.getSetCookie()) {
      const [, name, value] = line.match(/^([^=]+)=([^;]*)/)
      if (/max-age=(0|-)|expires=Thu, 01 Jan 1970/i.test(line)) host.delete(name)
      else host.set(name, value)
    }
    return response
  }

  // walk follows redirects, and fills the forms of our pages in if person is there. It ends at a page, or at an address
  // elsewhere.
  async #walk(start, person) {
    let url = new URL(start)
    const known = [url.origin, ...this.#home]
    let request = {}
    for (let hop = 0; hop < 20; hop++) {
      const response = await this.#ask(url, request)
      request = {}
      if (response.status >= 300 && response.status < 400) {
        const from = url.origin
        url = new URL(response.headers.get('location'), url)
        if (this.#home.includes(from)) known.push(url.origin) // an app leads to its server
        if (!known.includes(url.origin)) return { url }
        continue
      }
      const page = await response.text()
      const form = this.#home.includes(url.origin) ? null : formOf(page)
      if (!form) {
        assert.equal(response.status, 200, `${url} answers ${response.status}: ${page}`)
        return { url, page }
      }
      assert.ok(response.status === 200 && person, `${url} answers ${response.status}: ${page}`)
      const { fields } = form
      if (fields.has('password')) fields.set('username', person.username).set('password', person.password)
      if (fields.has('choice')) fields.set('choice', 'continue')
      const filled = [...fields].filter(([, value]) => value !== null)
      request = { method: 'POST', body: new URLSearchParams(filled) }
      url = new URL(form.action, url)
    }
    throw new Error('too many redirects or pages')
  }

  // signIn does what a person does who is sent to url, and returns the address that the app is called back at.
  async signIn(url, person) {
    const end = await this.#walk(url, person)
    assert.equal(end.page, undefined, `${url} ends at a page: ${end.page}`)
    return end.url
  }

  // follow is that without anything to fill in.
  follow(url) {
    return this.signIn(url)
  }

  // open is what the page says at last.
  async open(url, person) {
    return (await this.#walk(url, person)).page
  }
}

// signIn is that of a browser that starts anew.
export const signIn = (url, person) => new Visitor().signIn(url, person)

if (import.meta.filename === process.argv[1]) {
  const { USERNAME: username, PASSWORD: password } = process.env
  console.log((await signIn(process.argv[2], { username, password })).href)
}
