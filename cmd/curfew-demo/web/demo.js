// The demo's page: signs in, asks its own API, and watches for the moment of a sign-out.
import {Session} from './curfew.js';

const $ = (id) => document.getElementById(id);
const {issuer, client_id: clientId, scope} = await (await fetch('/config.json')).json();
const session = new Session({issuer, clientId, redirectUri: location.origin + '/', scope});
let watching = null; // ends the stream of the tokens before
let leaving = false; // the sign-out was this page's own

const say = (id, text) => {
  $(id).textContent = text;
  $(id).hidden = !text;
};
const time = (us) => new Date(us / 1000).toLocaleTimeString(undefined,
  {hour: '2-digit', minute: '2-digit', second: '2-digit', fractionalSecondDigits: 3});

// act runs what a button does; what goes wrong is said on the page.
const act = (id, what) => $(id).addEventListener('click', () => attempt(what));
async function attempt(what) {
  say('problem', '');
  try {
    await what();
  } catch (err) {
    if (!['invalid_grant', 'signed_out'].includes(err.code)) {
      const wait = err.retryAfter ? ` Try again in ${err.retryAfter} seconds.` : '';
      say('problem', `${err.message}.${wait}`);
    }
  }
}

async function answerOf(promise) {
  const answer = await promise;
  const members = await answer.json();
  if (!answer.ok) throw new Error(members.detail ?? members.error_description ?? `status ${answer.status}`);
  return members;
}

async function showClaims() {
  const {claims} = await answerOf(session.fetch('/', {headers: {Accept: 'application/json'}}));
  $('claims').replaceChildren(...Object.entries(claims).map(([name, value]) => {
    const row = document.createElement('tr');
    row.append(document.createElement('th'), document.createElement('td'));
    row.firstChild.textContent = name;
    row.lastChild.textContent = Array.isArray(value) ? value.join(' ') : value;
    return row;
  }));
}

async function showDevices() {
  const {devices} = await answerOf(session.fetch(issuer + '/settings/devices'));
  $('devices').replaceChildren(...devices.map((d) => {
    const item = document.createElement('li');
    const text = document.createElement('span');
    text.textContent = [d.name || d.platform || d.id, d.client_name || d.client_id, d.current && 'this one']
      .filter(Boolean).join(' · ');
    const button = document.createElement('button');
    button.textContent = 'Sign out';
    button.addEventListener('click', () => attempt(async () => {
      await end(`/settings/devices/${d.id}`);
      if (session.signedIn) await showDevices();
    }));
    item.append(text, button);
    return item;
  }));
}

// end signs devices out, and shows the receipt: which resource servers have applied it.
async function end(path) {
  const done = await answerOf(session.fetch(`${issuer}${path}?wait=2s`, {method: 'DELETE'}));
  const {subscribers, acknowledged, slowest_ms: slowest} = done.applied;
  say('receipt', `Event ${done.revocation.seq}: applied at ${acknowledged} of ${subscribers} servers` +
    (slowest === null || slowest === undefined ? '.' : `, slowest ${slowest} ms.`));
}

// watch reads the API's stream about this access token, a JSON object a line, until the token is refused.
async function watch(signal) {
  const answer = await session.fetch('/watch', {signal});
  if (!answer.ok) throw new Error(`the API answers ${answer.status}`);
  let rest = '';
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  for (let part = await reader.read(); !part.done; part = await reader.read()) {
    const lines = (rest + part.value).split('\n');
    rest = lines.pop();
    for (const line of lines) {
      const now = JSON.parse(line);
      if (now.alive) {
        const heard = now.heard_seconds_ago === null ? 'not yet' : `${now.heard_seconds_ago.toFixed(1)} s ago`;
        $('watch').textContent = `Alive. The feed was heard ${heard}, up to event ${now.seq}.`;
      } else if (now.code === 'revoked') {
        say('moment', `Signed out. The API knew at ${time(now.at_us)}, by event ${now.seq}, and has confirmed it.`);
      }
    }
  }
}

async function watchOn() {
  watching?.abort();
  const {signal} = (watching = new AbortController());
  while (session.signedIn && !signal.aborted) {
    try {
      await watch(signal);
      await session.fetch('/', {signal}); // the token was refused: this refreshes it, or finds that we are signed out
    } catch (err) {
      if (signal.aborted || err.code === 'invalid_grant' || err.code === 'signed_out') return;
      await new Promise((done) => setTimeout(done, 1000 * (err.retryAfter || 2)));
    }
  }
}

function show(signedIn) {
  const before = !$('signed-in').hidden;
  $('signed-in').hidden = !signedIn;
  $('signed-out').hidden = signedIn;
  if (signedIn && !before) {
    say('moment', '');
    say('receipt', '');
    attempt(showClaims);
    attempt(showDevices);
    watchOn();
  }
  if (!signedIn) {
    if (before && !leaving && $('moment').hidden) say('moment', 'Signed out.');
    watching?.abort();
  }
}

session.onChange = show;
act('sign-in', () => session.signIn());
act('refresh', showClaims);
act('list', showDevices);
act('everywhere', () => end('/settings/devices'));
act('sign-out', async () => {
  leaving = true;
  try {
    await session.signOut();
  } finally {
    leaving = false;
  }
});
await attempt(() => session.start());
show(session.signedIn);
