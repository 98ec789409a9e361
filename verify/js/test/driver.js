// A verifier that is asked line by line; cmd/curfew-torture holds what it answers against a history. VERIFIER holds the
// options of createVerifier, as JSON. Each line of standard input gets one line of JSON:
//
//   state         {"seq": what it has applied, "staleness": in seconds, or null before the first contact}
//   verify TOKEN  {"seq": what it had applied before it was asked, "code": null, or why the token is refused}
import {createInterface} from 'node:readline';

import {createVerifier, VerifyError} from '../src/index.js';

const v = createVerifier(JSON.parse(process.env.VERIFIER));

async function answer(command, token) {
  const seq = v.seq();
  if (command === 'state') return {seq, staleness: v.staleness()};
  try {
    await v.verify(token);
    return {seq, code: null};
  } catch (error) {
    if (!(error instanceof VerifyError)) throw error;
    return {seq, code: error.code};
  }
}

// Infinity is null in JSON.
for await (const line of createInterface({input: process.stdin})) {
  process.stdout.write(`${JSON.stringify(await answer(...line.split(' ')))}\n`);
}
v.close();
