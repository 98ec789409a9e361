import {Verifier} from './verifier.js';

export {VerifyError} from './errors.js';

/** @type {typeof import('../types/index.js').createVerifier} */
export const createVerifier = (options) => new Verifier(options);
