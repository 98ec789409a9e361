// npm run bench. What a call costs, each beside the bare signature check of the same run, in turns: medians, and
// their ratio.
import {randomFillSync, verify as verifySignature} from 'node:crypto';

import {claims, quiet, Signer} from '../test/kit.js';

const rounds = 1500;
const warmUp = 500;
const median = (list) => list.sort((a, b) => a - b)[Math.floor(list.length / 2)];

/** Runs the contestants in turns and gives the median of each, in microseconds a call. */
async function inTurns(contestants, calls) {
  const times = contestants.map(() => []);
  for (let round = 0; round < warmUp + rounds; round++) {
    for (const [i, run] of contestants.entries()) {
      const began = process.hrtime.bigint();
      await run(calls, round);
      if (round >= warmUp) times[i].push(Number(process.hrtime.bigint() - began) / 1000 / calls);
    }
  }
  return times.map(median);
}

function fresh(v, now) {
  v.clock.made = {...now};
  v.clock.server = now.wall;
}

async function newTokens(alg) {
  const signer = new Signer(alg);
  const {v, now} = quiet({cacheSize: 2}, [signer]);
  fresh(v, now);
  const calls = 5; // few, so that most turns are not interrupted on a shared machine
  const at = {iat: now.wall / 1e6, exp: now.wall / 1e6 + 300, iat_us: now.wall};
  const tokens = Array.from({length: calls}, () => signer.sign(claims('https://id.example.com', at)));
  const parts = tokens.map((token) => {
    const cut = token.lastIndexOf('.');
    return [Buffer.from(token.slice(0, cut)), Buffer.from(token.slice(cut + 1), 'base64url')];
  });
  const digest = alg === 'EdDSA' ? null : 'sha256';
  const input = {key: signer.publicKey, dsaEncoding: 'ieee-p1363'};
  const [bare, whole] = await inTurns(
    [
      () => {
        for (const [signed, signature] of parts)
          if (!verifySignature(digest, signed, input, signature)) throw new Error('bare');
      },
      async () => {
        for (const token of tokens) await v.verify(token);
      },
    ],
    calls,
  );
  console.log(
    `new ${alg}: ${whole.toFixed(1)} us, the signature alone ${bare.toFixed(1)} us: ${(whole / bare).toFixed(2)} times`,
  );
}

/** A string that was not hashed before, as one from a request. */
const copyOf = (token) => Buffer.from(token, 'latin1').toString('latin1');

async function seenTokens() {
  const signer = new Signer();
  const empty = quiet({}, [signer]),
    large = quiet({}, [signer]);
  const count = 1000;
  const at = {iat: empty.now.wall / 1e6, exp: empty.now.wall / 1e6 + 300, iat_us: empty.now.wall};
  const tokens = Array.from({length: count}, () => signer.sign(claims('https://id.example.com', at)));
  const {bytes, entries} = fill(large.v.revoked, 1_000_000);
  const turn = 20; // short, as above
  const run = ({v, now}) => {
    fresh(v, now);
    return async (round) => {
      const first = (round * turn) % count;
      const copies = tokens.slice(first, first + turn).map(copyOf);
      const began = process.hrtime.bigint();
      for (const token of copies) await v.verify(token);
      return Number(process.hrtime.bigint() - began) / 1000 / turn;
    };
  };
  const contestants = [run(empty), run(large)];
  const times = [[], []];
  for (let round = 0; round < 10 * rounds; round++) {
    for (const [i, go] of contestants.entries()) {
      const time = await go(round);
      if (round >= warmUp) times[i].push(time);
    }
  }
  const [none, million] = times.map(median);
  console.log(
    `seen before: ${none.toFixed(2)} us; with ${entries} entries ${million.toFixed(2)} us: ` +
      `${(million / none).toFixed(2)} times`,
  );
  console.log(`an index entry: ${bytes.toFixed(0)} bytes at ${entries}`);
}

/** Puts random devices into an index, and says what one takes: heap and buffers after a collection. */
function fill(index, entries) {
  const memory = () => {
    globalThis.gc();
    const {heapUsed, arrayBuffers} = process.memoryUsage();
    return heapUsed + arrayBuffers;
  };
  const before = memory();
  const now = {server: 0, local: 0};
  const raw = Buffer.alloc(16);
  let slowest = 0;
  const began = process.hrtime.bigint();
  for (let i = 0; i < entries; i++) {
    const hex = randomFillSync(raw).toString('hex');
    const uuid = `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20)}`;
    const one = process.hrtime.bigint();
    index.apply('device', uuid, {micros: i + 1, expires: 2 ** 32 - 1, held: 2 ** 32 - 1}, now);
    slowest = Math.max(slowest, Number(process.hrtime.bigint() - one) / 1e6);
  }
  const all = Number(process.hrtime.bigint() - began) / 1000 / entries;
  console.log(`an event into the index: ${all.toFixed(2)} us, the slowest of ${entries} ${slowest.toFixed(1)} ms`);
  return {bytes: (memory() - before) / entries, entries: index.entries};
}

console.log(`Node ${process.version}, ${process.arch}`);
for (const alg of ['ES256', 'EdDSA', 'RS256']) await newTokens(alg);
await seenTokens();
