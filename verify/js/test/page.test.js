// Runs the code of docs/resource-servers-node.md against a real Curfew, with the package as npm packs it.
import {deepStrictEqual, match, ok, strictEqual} from 'node:assert';
import {execFile, spawn} from 'node:child_process';
import {once} from 'node:events';
import {mkdir, mkdtemp, readFile, rm, symlink, writeFile} from 'node:fs/promises';
import {createServer} from 'node:net';
import {tmpdir} from 'node:os';
import {dirname, join} from 'node:path';
import {test} from 'node:test';
import {fileURLToPath} from 'node:url';
import {promisify} from 'node:util';

import {startCurfew} from './curfew.js';

const run = promisify(execFile);
const folder = fileURLToPath(new URL('..', import.meta.url));
const read = (path) => readFile(new URL(path, import.meta.url), 'utf8');
const page = await read('../../../docs/resource-servers-node.md');
const programs = Object.fromEntries(
  [...page.matchAll(/<!-- run: (\S+) -->\n```js\n(.*?)```/gs)].map(([, name, code]) => [name, code]),
);

/** Packs the package and installs it, beside the frameworks, in a folder of its own. */
async function install(t) {
  const work = await mkdtemp(join(tmpdir(), 'curfew-verify-'));
  t.after(() => rm(work, {recursive: true, force: true}));
  const {stdout} = await run('npm', ['pack', '--json', '--pack-destination', work], {cwd: folder});
  const [{filename, files}] = JSON.parse(stdout);
  const modules = join(work, 'node_modules');
  await mkdir(join(modules, 'curfew-verify'), {recursive: true});
  await run('tar', ['-xzf', join(work, filename), '--strip-components=1', '-C', join(modules, 'curfew-verify')]);
  for (const name of [
    'express',
    'fastify',
    'hono',
    '@hono/node-server',
    '@modelcontextprotocol/sdk',
    'jose',
    'express-oauth2-jwt-bearer',
  ]) {
    await mkdir(dirname(join(modules, name)), {recursive: true});
    await symlink(join(folder, 'node_modules', name), join(modules, name));
  }
  await writeFile(join(work, 'package.json'), '{"type":"module"}');
  return {work, files: files.map(({path}) => path)};
}

async function freePort() {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const {port} = server.address();
  server.close();
  return port;
}

/** Starts a program of the page and waits until it answers. */
async function start(t, work, name, env) {
  await writeFile(join(work, name), programs[name]);
  const port = await freePort();
  const program = spawn(process.execPath, [name], {
    cwd: work,
    env: {...process.env, ...env, PORT: String(port)},
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  let said = '';
  program.stderr.on('data', (chunk) => {
    said += chunk;
  });
  const exited = once(program, 'exit');
  t.after(async () => {
    program.kill();
    await exited;
  });
  const url = `http://127.0.0.1:${port}`;
  while (
    !(await fetch(url).then(
      () => true,
      () => false,
    ))
  ) {
    strictEqual(program.exitCode, null, said);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  return url;
}

/** Asks a program as its callers do. Gives the status and who the answer says it is. */
async function ask(name, url, token) {
  const headers = token === undefined ? {} : {authorization: `Bearer ${token}`};
  if (name !== 'mcp.js') {
    const answer = await fetch(`${url}/orders`, {headers, signal: AbortSignal.timeout(30_000)});
    if (!answer.ok || name === 'sockets.js') return {status: answer.status, answer};
    return {status: answer.status, user: (await answer.json()).user};
  }
  const answer = await fetch(`${url}/mcp`, {
    method: 'POST',
    body: JSON.stringify({jsonrpc: '2.0', id: 1, method: 'tools/call', params: {name: 'whoami', arguments: {}}}),
    headers: {...headers, 'content-type': 'application/json', accept: 'application/json, text/event-stream'},
  });
  const text = await answer.text();
  return {status: answer.status, user: /"text":"([^"]+)"/.exec(text)?.[1]};
}

test(
  'every program of the page refuses a token whose sign-out its receipt says is applied',
  {timeout: 600_000},
  async (t) => {
    const curfew = await startCurfew(t);
    const {work} = await install(t);
    const names = Object.keys(programs);
    deepStrictEqual(names, ['express.js', 'fastify.js', 'hono.js', 'mcp.js', 'jose.js', 'bearer.js', 'sockets.js']);
    const env = {ISSUER: curfew.issuer, CLIENT_SECRET: curfew.secret};
    const urls = Object.fromEntries(
      await Promise.all(names.map(async (name) => [name, await start(t, work, name, env)])),
    );
    // Until all of them follow the feed.
    for (let all = false; !all;) {
      const {applied} = await curfew.command(['revoke', 'client', 'web', '--wait=2s']);
      all = applied.acknowledged === names.length;
    }
    for (const name of names) {
      await t.test(name, async () => {
        const url = urls[name];
        const {access_token: token, device_id: device} = await curfew.signIn();
        strictEqual((await ask(name, url)).status, 401);
        strictEqual((await ask(name, url, `${token.slice(0, -8)}AAAAAAAA`)).status, 401);
        const {status, user, answer} = await ask(name, url, token);
        strictEqual(status, 200);
        const body = answer?.text();
        let applied = {acknowledged: 0};
        for (let tries = 0; applied.acknowledged < names.length && tries < 6; tries++) // of the same event
          ({applied} = await curfew.command(['revoke', 'device', device, '--wait=10s']));
        strictEqual((await ask(name, url, token)).status, 401);
        const {sub} = JSON.parse(Buffer.from(token.split('.')[1], 'base64url').toString());
        if (name === 'sockets.js')
          strictEqual(await body, `data: ${sub}\n\n`); // the response has ended
        else strictEqual(user, sub);
        deepStrictEqual([applied.subscribers, applied.acknowledged], [names.length, names.length]);
      });
    }
  },
);

test('the package holds what is needed, and depends on nothing', {timeout: 60_000}, async (t) => {
  const {files} = await install(t);
  const others = files.filter(
    (path) => !/^(src\/[a-z]+\.js|types\/[a-z]+\.d\.ts|README\.md|package\.json)$/.test(path),
  );
  deepStrictEqual(others, []);
  const manifest = JSON.parse(await read('../package.json'));
  deepStrictEqual([manifest.dependencies, manifest.optionalDependencies], [undefined, undefined]);
  for (const {types, default: source} of Object.values(manifest.exports)) {
    ok(files.includes(types.slice(2)) && files.includes(source.slice(2)));
  }
  // Only node: and its own files; the SDK's errors for those who use it.
  for (const path of files.filter((name) => name.endsWith('.js'))) {
    for (const [, from] of (await read(`../${path}`)).matchAll(/^(?:import|export) .*from '([^']+)'/gm)) {
      match(from, path === 'src/mcp.js' ? /^(node:|\.\/|@modelcontextprotocol\/sdk\/)/ : /^(node:|\.\/)/);
    }
  }
});

test('the README shows the code of the page', async () => {
  ok((await read('../README.md')).includes(`\`\`\`js\n${programs['express.js']}\`\`\``));
});
