"""A token verifier for the Model Context Protocol's Python SDK (package ``mcp``, 1.9 or newer).

    server = FastMCP("orders", token_verifier=token_verifier(verifier), auth=AuthSettings(…))
"""

from typing import TYPE_CHECKING

from ._errors import VerifyError
from ._verifier import Verifier

if TYPE_CHECKING:
    from mcp.server.auth.provider import AccessToken


class TokenVerifier:
    """What the SDK's ``TokenVerifier`` protocol asks for."""

    def __init__(self, verifier: Verifier) -> None:
        # Here, so that who has no SDK learns it when the server starts.
        from mcp.server.auth.provider import AccessToken

        self._verifier, self._made = verifier, AccessToken

    async def verify_token(self, token: str) -> "AccessToken | None":
        """The token's client, scopes and expiry; None if it is not accepted, which the SDK answers with 401.

        VerifyError: it cannot be said now (status 503). The SDK makes 500 of it; with 401 a client would sign in again.
        """
        try:
            claims = await self._verifier.verify_async(token)
        except VerifyError as error:
            if error.status == 503:
                raise
            return None
        return self._made(
            token=token,
            client_id=claims.client_id,
            scopes=list(claims.scopes),
            expires_at=int(claims["exp"]),
            # The SDK compares it with its own address, if it is told to: what we have checked is the audience.
            resource=self._verifier.audience,
            # Of newer versions; older ones pass over them.
            subject=claims.sub,
            claims=dict(claims),
        )


def token_verifier(verifier: Verifier) -> TokenVerifier:
    """A verifier for ``FastMCP(token_verifier=…)``."""
    return TokenVerifier(verifier)
