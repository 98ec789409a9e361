"""Checks Curfew's access tokens locally, and still refuses one that was signed out a moment ago.

    from curfew_verify import create_verifier

    verifier = create_verifier(issuer="https://id.example.com", client_id="api", client_secret=secret)
    claims = verifier.verify(token)              # or: await verifier.verify_async(token)

What it promises:

- Everything RFC 9068 section 4 asks for is checked, and the one rule: a token is alive only if its issue time is
  above the valid_from of its device, its user, its client and everyone.
- It follows the revocation feed. What the feed has said counts for the very next call, also for tokens that were
  verified before: what is remembered of a token is its signature and its claims, never that it is alive.
- It acknowledges what it has applied, after it has applied it. Whoever signs somebody out gets this as a receipt.
- It knows how old its knowledge is. When the feed has been silent for longer than the bound, it asks introspection,
  rejects, or accepts, as its owner chose. A token that is known to be dead stays dead.
- It comes up when the issuer does, and it holds the issuer harmless: one key fetch at a time, none for each forged
  key id, waits between tries.

Adapters: curfew_verify.fastapi, .flask, .django, .asgi, .wsgi, .mcp.
"""

from ._errors import Code, VerifyError
from ._knowledge import Revocation
from ._token import Claims
from ._verifier import Stats, Verifier, WhenStale, create_verifier

__all__ = ["Claims", "Code", "Revocation", "Stats", "Verifier", "VerifyError", "WhenStale", "create_verifier"]
