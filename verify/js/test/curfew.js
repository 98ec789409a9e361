// A real `curfew serve` on SQLite behind a proxy that cuts, delays and compresses, for the tests.
import {execFile, spawn} from 'node:child_process';
import {randomBytes} from 'node:crypto';
import {once} from 'node:events';
import {mkdtemp, rm} from 'node:fs/promises';
import {createServer, request} from 'node:http';
import {createServer as listener} from 'node:net';
import {tmpdir} from 'node:os';
import {join} from 'node:path';
import {fileURLToPath} from 'node:url';
import {promisify} from 'node:util';
import {createGzip} from 'node:zlib';

import {closeServer} from './kit.js';

const root = fileURLToPath(new URL('../../..', import.meta.url));
const run = promisify(execFile);

async function freePort() {
  const server = listener().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const {port} = server.address();
  server.close();
  return port;
}

/**
 * What lies between: `delay` holds every piece up, `cut` ends what is open, `down` refuses, `compressed` says which
 * paths were.
 */
async function startProxy(upstream) {
  const proxy = {url: '', delay: 0, down: false, open: new Set(), compressed: new Set(), feeds: 0};
  const server = createServer((req, res) => {
    if (proxy.down) return req.socket.destroy();
    const path = req.url.split('?')[0];
    if (path === '/oauth2/revocations') proxy.feeds++;
    const sent = request(
      {host: '127.0.0.1', port: upstream, path: req.url, method: req.method, headers: req.headers},
      (answer) => {
        const gzip = /\bgzip\b/.test(req.headers['accept-encoding'] ?? '');
        const headers = {...answer.headers};
        if (gzip) {
          proxy.compressed.add(path);
          headers['content-encoding'] = 'gzip';
          delete headers['content-length'];
        }
        res.writeHead(answer.statusCode, headers).flushHeaders();
        const out = gzip ? createGzip() : res;
        if (gzip) out.pipe(res);
        answer.on('data', (piece) => setTimeout(() => out.write(piece), proxy.delay));
        answer.on('end', () => setTimeout(() => out.end(), proxy.delay));
        answer.on('error', () => res.destroy());
      },
    );
    proxy.open.add(res);
    res.on('close', () => {
      proxy.open.delete(res);
      sent.destroy();
    });
    sent.on('error', () => res.destroy());
    req.pipe(sent);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  proxy.url = `http://127.0.0.1:${server.address().port}`;
  proxy.cut = () => {
    for (const res of proxy.open) res.destroy();
  };
  proxy.close = () => closeServer(server);
  return proxy;
}

/**
 * Builds and starts all of it, with a user anna, an app web, and the client api for verifiers. `direct`: it is its own
 * issuer, the proxy stands beside it. `more` are further variables.
 */
export async function startCurfew(t, {direct = false, more = {}} = {}) {
  const work = await mkdtemp(join(tmpdir(), 'curfew-'));
  t.after(() => rm(work, {recursive: true, force: true}));
  const program = join(work, 'curfew');
  await run('go', ['build', '-o', program, './cmd/curfew'], {cwd: root});
  const port = await freePort();
  const proxy = await startProxy(port);
  t.after(() => proxy.close());
  const own = `http://127.0.0.1:${port}`,
    issuer = direct ? own : proxy.url;
  const password = randomBytes(18).toString('base64'),
    secret = `${randomBytes(18).toString('base64url')}+/:%`;
  const env = {
    PATH: process.env.PATH,
    HOME: work,
    CURFEW_DATABASE_URL: `sqlite:${join(work, 'curfew.db')}`,
    CURFEW_SECRET: randomBytes(32).toString('base64'),
    CURFEW_PUBLIC_ADDR: `127.0.0.1:${port}`,
    CURFEW_ADMIN_ADDR: '127.0.0.1:0',
    CURFEW_ISSUER: issuer,
    ...more,
  };
  /** Runs a command of curfew's and reads its JSON. */
  const command = async (args, input) => {
    const running = run(program, [...args, '--json'], {env});
    running.child.stdin.end(input);
    return JSON.parse((await running).stdout);
  };
  await run(program, ['migrate'], {env});
  await command(['user', 'add', 'anna', '--password-stdin'], `${password}\n`);
  await command([
    'client',
    'add',
    'web',
    '--public',
    '--grants',
    'password,refresh_token',
    '--scopes',
    'orders profile openid',
  ]);
  await command(
    [
      'client',
      'add',
      'api',
      '--grants',
      'client_credentials',
      '--scopes',
      'revocations',
      '--introspect',
      '--secret-stdin',
    ],
    `${secret}\n`,
  );
  const start = async () => {
    const server = spawn(program, ['serve'], {env, stdio: 'ignore'});
    const exited = once(server, 'exit');
    while (
      !(await fetch(`${own}/readyz`).then(
        (res) => res.ok,
        () => false,
      ))
    )
      await new Promise((resolve) => setTimeout(resolve, 50));
    return async () => {
      server.kill();
      await exited;
    };
  };
  let stop = await start();
  t.after(() => stop());
  return {
    issuer,
    proxy,
    secret,
    command,
    async restart() {
      await stop();
      stop = await start();
    },
    /** Signs anna in and gives the token answer. */
    async signIn() {
      const body = new URLSearchParams({grant_type: 'password', client_id: 'web', username: 'anna', password});
      const answer = await fetch(`${own}/oauth2/token`, {method: 'POST', body});
      if (!answer.ok) throw new Error(`sign-in: ${answer.status} ${await answer.text()}`);
      return answer.json();
    },
  };
}
