import type {EventEmitter} from 'node:events';

/** Whom to trust, and as whom to follow the feed. */
export interface Options {
  /** The issuer's URL, exactly as in its metadata. */
  issuer: string;
  /** A confidential client with the grant client_credentials and the scope revocations, and with introspection. */
  clientId: string;
  clientSecret: string;
  /** What aud must contain; default the issuer. */
  audience?: string;
  /**
   * Names this process in receipts, and no other one: 1 to 64 of A-Z a-z 0-9 . _ -. The default is the end of the
   * host's name and some random letters.
   */
  subscriber?: string;
  /** How many seconds old the knowledge of sign-outs may become; default 30. Heartbeats come at least every 15 s. */
  bound?: number;
  /**
   * What happens to a token that is not known to be dead while the knowledge is older than that: ask the issuer about
   * it (the default; refused when it cannot be asked), refuse it, or accept it until it expires.
   */
  whenStale?: 'introspect' | 'reject' | 'accept';
  /** How many tokens are remembered whose signature was right; default 10,000. */
  cacheSize?: number;
}

/** What an access token says, RFC 9068 section 2.2 and Curfew's own. Frozen, and shared between calls. */
export interface Claims {
  readonly iss: string;
  /** The user's id; of a client's own token the client's. */
  readonly sub: string;
  readonly aud: string | readonly string[];
  readonly exp: number;
  readonly iat: number;
  readonly nbf?: number;
  readonly jti: string;
  readonly client_id: string;
  /** Separated by spaces. */
  readonly scope?: string;
  /** None in a client's own token. */
  readonly device_id?: string;
  readonly rid?: string;
  /** The issue time: an ordering stamp in microseconds since 1970. */
  readonly iat_us: number;
  readonly [name: string]: unknown;
}

/** Why a token was not accepted. */
export type Code =
  | 'no_token'
  | 'request'
  | 'malformed'
  | 'type'
  | 'unknown_key'
  | 'signature'
  | 'claims'
  | 'issuer'
  | 'audience'
  | 'binding'
  | 'expired'
  | 'not_yet_valid'
  | 'revoked'
  | 'stale'
  | 'unavailable'
  | 'scope';

export class VerifyError extends Error {
  constructor(code: Code, more?: {cause?: unknown; detail?: string; scopes?: string[]});
  readonly code: Code;
  /** What to answer: 400, 401, 403 or 503. */
  readonly status: number;
  /** The WWW-Authenticate of the answer, RFC 6750 section 3; null with a 503. */
  readonly challenge: string | null;
}

/** An event of the revocation feed: the tokens of the subject that were issued at or before valid_from are dead. */
export interface Revocation {
  readonly seq: number;
  readonly level: 'device' | 'user' | 'client' | 'everyone';
  /** A device's id, a user's (sub), a client's; null for everyone. */
  readonly subject: string | null;
  /** Microseconds, to compare with iat_us. */
  readonly valid_from: number;
  readonly reason: string;
  readonly [name: string]: unknown;
}

/** Counters since the start, and the present state. */
export interface Stats {
  /** Accepted with fresh knowledge. */
  verified: number;
  /** Calls that found the signature remembered. */
  cached: number;
  /** Malformed, forged, foreign. */
  refused: number;
  expired: number;
  revoked: number;
  /** Calls while the knowledge was too old. */
  stale: number;
  introspected: number;
  /** Applied, doubles included. */
  events: number;
  acks: number;
  /** Times the feed was opened. */
  connects: number;
  keyFetches: number;
  /** Of the revocation index. */
  entries: number;
  seq: number;
  /** Seconds. */
  staleness: number;
  /** What the issuer's clock is ahead of this machine's, in seconds, as the last heartbeat showed it. */
  clockOffset: number;
}

export interface Verifier extends EventEmitter {
  /** Checks a token and gives its claims. Rejects with a VerifyError. */
  verify(token: string): Promise<Claims>;
  /**
   * For claims that your own JWT code has verified: whether they were signed out, and what to do while that is not
   * known. Without the token, `introspect` acts as `reject`. Rejects with a VerifyError.
   */
  assertAlive(claims: object, token?: string): Promise<void>;
  /**
   * How many seconds ago it was last known, at most, that no sign-out is unknown. Infinity before the first contact. It
   * counts from when a heartbeat was made, not from when it came.
   */
  staleness(): number;
  /** The number of the last event that has been applied. */
  seq(): number;
  stats(): Stats;
  /** Ends the feed. Afterwards only calls of verify send requests, and nothing keeps the process. */
  close(): Promise<void>;

  /** A sign-out has been applied: for those who hold sockets open. */
  on(event: 'revocation', listener: (revocation: Revocation) => void): this;
  /** Something that an operator should know. When nobody listens, it is a warning of the process. */
  on(event: 'warning', listener: (warning: Error) => void): this;
  on(event: string | symbol, listener: (...args: any[]) => void): this;
}

/**
 * Starts a verifier and returns at once. It comes up when the issuer does; until then `whenStale` decides. Throws a
 * TypeError for what cannot work.
 */
export function createVerifier(options: Options): Verifier;
