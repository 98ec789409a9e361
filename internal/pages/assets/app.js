// What makes the pages quicker to use. Everything on them works without it. It builds no markup from text: the policy of
// the pages (Trusted Types) would refuse that.

const all = (selector, root = document) => root.querySelectorAll(selector);
const sleep = (ms) => new Promise((done) => setTimeout(done, ms));

// Times: the exact one in the reader's own zone.
const zone = new Intl.DateTimeFormat(document.documentElement.lang, { dateStyle: 'long', timeStyle: 'long' });
for (const time of all('time[datetime]')) {
  const at = new Date(time.dateTime);
  if (!Number.isNaN(at.getTime())) time.title = zone.format(at);
}

// Passwords: show and hide.
for (const button of all('button[data-show]')) {
  const input = document.getElementById(button.dataset.show);
  const set = (shown) => {
    input.type = shown ? 'text' : 'password';
    button.textContent = shown ? button.dataset.textOn : button.dataset.textOff;
    button.ariaLabel = shown ? button.dataset.labelOn : button.dataset.labelOff;
  };
  button.hidden = false;
  button.addEventListener('click', () => {
    set(input.type === 'password');
    input.focus();
  });
  input.form.addEventListener('submit', () => set(false)); // else browsers do not offer to keep it
}

// Forms: once. The button's own value must still be sent, so it is not disabled.
for (const form of all('form[data-once]')) {
  form.addEventListener('submit', (event) => {
    if (form.dataset.sent) {
      event.preventDefault();
      return;
    }
    form.dataset.sent = 'yes';
    event.submitter?.setAttribute('aria-busy', 'true');
  });
}
addEventListener('pageshow', () => { // also when the browser takes the page from its history
  for (const form of all('form[data-sent]')) delete form.dataset.sent;
  for (const button of all('button[aria-busy]')) button.removeAttribute('aria-busy');
});

// Renaming in place: the name is selected, Escape closes.
for (const details of all('details[data-rename]')) {
  details.addEventListener('toggle', () => {
    if (details.open) details.querySelector('input[name=name]').select();
  });
  details.addEventListener('keydown', (event) => {
    if (event.key !== 'Escape' || !details.open) return;
    details.open = false;
    details.querySelector('summary').focus();
  });
}

// Receipts: what is still missing is asked for until it is there, more and more seldom, for ten minutes at most.
const part = (receipt, name) => receipt.querySelector(`[data-receipt=${name}]`);

const show = (receipt, state) => {
  const say = (name, text) => {
    const element = part(receipt, name);
    if (element.textContent !== text) element.textContent = text;
    element.hidden = !text;
  };
  say('text', state.text);
  say('told', state.told);
  const list = part(receipt, 'waiting');
  list.hidden = state.waiting.length === 0;
  list.replaceChildren(...state.waiting.map((line) => {
    const item = document.createElement('li');
    item.textContent = line;
    return item;
  }));
  if (!state.done) return;
  receipt.classList.add('done');
  part(receipt, 'reload')?.remove();
};

// A form that is on its way may end this session: nothing is asked for any more.
let staying = new AbortController();
addEventListener('submit', () => staying.abort());
addEventListener('pageshow', () => { staying = new AbortController(); });

const follow = async (receipt) => {
  const url = new URL(receipt.dataset.receiptUrl, location);
  if (url.origin !== location.origin) return;
  const end = Date.now() + 600_000;
  for (let pause = 300; Date.now() < end; pause = Math.min(pause * 1.5, 10_000)) {
    await sleep(pause);
    if (document.hidden) continue;
    try {
      const answer = await fetch(url, { headers: { Accept: 'application/json' }, signal: staying.signal });
      if (!answer.ok) return; // the link to look again is still there
      const state = await answer.json();
      show(receipt, state);
      if (state.done) return;
    } catch {
      // No network just now, or leaving: again.
    }
  }
};

for (const receipt of all('.receipt')) {
  // What stood there from the start is not read out: it is said once more.
  const text = part(receipt, 'text');
  const said = text.textContent;
  setTimeout(() => { text.textContent = ''; }, 50);
  setTimeout(() => { if (!text.textContent) text.textContent = said; }, 150);
  if (receipt.dataset.receiptUrl) follow(receipt);
}

// Copying the lines for the shell.
for (const button of all('button[data-copy]')) {
  const source = document.getElementById(button.dataset.copy);
  if (!navigator.clipboard || !source) continue;
  button.hidden = false;
  button.addEventListener('click', async () => {
    try {
      await navigator.clipboard.writeText(source.textContent);
    } catch {
      return; // not allowed: the line can be marked by hand
    }
    const label = button.textContent;
    button.textContent = button.dataset.done;
    setTimeout(() => { button.textContent = label; }, 2000);
  });
}

// Keys: / finds, ? explains.
const keys = document.getElementById('keys');
addEventListener('keydown', (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented) return;
  if (event.target.closest('input, select, textarea, [contenteditable]')) return;
  if (event.key === '/') {
    const find = document.querySelector('[data-find]');
    if (!find) return;
    event.preventDefault();
    find.closest('details')?.setAttribute('open', '');
    find.focus();
    find.select?.();
  } else if (event.key === '?' && keys && !keys.open) {
    event.preventDefault();
    keys.showModal();
  }
});
for (const button of all('button[data-keys]')) {
  button.hidden = false;
  button.addEventListener('click', () => keys.showModal());
}
