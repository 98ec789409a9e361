// A webhook receiver on Node: WEBHOOK_SECRET=whsec_… PORT=9001 node receiver.mjs
import { createServer } from 'node:http'
import { Webhook } from 'standardwebhooks'

const webhook = new Webhook(process.env.WEBHOOK_SECRET)
const seen = new Map() // webhook-id -> when; a database table, in earnest

createServer((req, res) => {
  const answer = (status) => res.writeHead(status).end()
  if (req.method !== 'POST') return answer(405)
  const chunks = []
  let size = 0
  req.on('data', (chunk) => {
    if ((size += chunk.length) > 65536) return req.destroy()
    chunks.push(chunk)
  })
  req.on('end', () => {
    let event
    try {
      // The bytes as they came, not what a JSON parser made of them. It refuses a timestamp that is minutes old.
      event = webhook.verify(Buffer.concat(chunks).toString('utf8'), req.headers)
    } catch {
      return answer(401)
    }
    const id = req.headers['webhook-id']
    if (seen.has(id)) return answer(204) // told twice: our answer was lost
    handle(event)
    seen.set(id, Date.now())
    for (const [old, at] of seen) if (at < Date.now() - 86_400_000) seen.delete(old)
    answer(204) // only now: what is not answered 2xx comes again
  })
}).listen(Number(process.env.PORT ?? 9001), '127.0.0.1')

function handle({ type, data }) {
  switch (type) {
    case 'device.signed_in':
      if (data.new) console.log(`tell ${data.username}: a new device, ${data.device_name}, from ${data.ip}`)
      break
    case 'device.ended':
      console.log(`end the sessions of device ${data.device_id}`)
      break
    case 'user.signed_out':
      console.log(`end the sessions of user ${data.user_id}`)
      break
    default:
      console.log(type)
  }
}
