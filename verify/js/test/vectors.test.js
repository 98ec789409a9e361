import {deepStrictEqual, match} from 'node:assert';
import {test} from 'node:test';

import {runVectors} from './vectors.js';

test('every vector has its verdict', async () => {
  const {failures, summary} = await runVectors();
  deepStrictEqual(failures, []);
  match(summary, /^vectors: [1-9]\d* tokens, [1-9]\d* feeds, 0 skipped$/);
});
