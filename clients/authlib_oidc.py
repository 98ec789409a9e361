"""authlib against Curfew with OpenID Connect: the ID token through the published keys, nonce and at_hash, userinfo, refresh,
log-out. No PKCE.
Started by ./run."""

import os
import pathlib
import subprocess

import requests
from authlib.common.security import generate_token
from authlib.common.urls import add_params_to_uri
from authlib.integrations.base_client.errors import OAuthError
from authlib.integrations.requests_client import OAuth2Session
from authlib.jose import JsonWebKey, JsonWebToken
from authlib.oidc.core import CodeIDToken

env = os.environ
os.environ["AUTHLIB_INSECURE_TRANSPORT"] = "1"  # loopback, no TLS
metadata = requests.get(env["ISSUER"] + "/.well-known/openid-configuration", timeout=60).json()
keys = JsonWebKey.import_key_set(requests.get(metadata["jwks_uri"], timeout=60).json())
browser = pathlib.Path(__file__).with_name("browser.mjs")


def check(token, nonce):
    claims = JsonWebToken(["RS256"]).decode(
        token["id_token"],
        keys,
        claims_cls=CodeIDToken,
        claims_options={"iss": {"values": [env["ISSUER"]]}, "aud": {"values": [env["RP_ID"]]}},
        claims_params={"nonce": nonce, "client_id": env["RP_ID"], "access_token": token["access_token"]},
    )
    claims.validate(leeway=5)
    assert claims["sid"] == token["device_id"], claims
    return claims


def visit(url):
    return subprocess.run(["node", browser, url], check=True, capture_output=True, text=True).stdout.strip()


session = OAuth2Session(env["RP_ID"], env["RP_SECRET"], redirect_uri=env["REDIRECT_URI"], scope="openid profile email")
nonce = generate_token(20)
url, state = session.create_authorization_url(metadata["authorization_endpoint"], nonce=nonce)
answer = visit(url)
first = dict(session.fetch_token(metadata["token_endpoint"], authorization_response=answer, state=state))
claims = check(first, nonce)
info = session.get(metadata["userinfo_endpoint"]).json()
assert info == {
    "sub": claims["sub"],
    "preferred_username": env["USERNAME"],
    "name": "Alice Archer",
    "email": "alice@example.com",
    "email_verified": True,
}, info
second = dict(session.refresh_token(metadata["token_endpoint"], refresh_token=first["refresh_token"]))
assert check(second, None)["auth_time"] == claims["auth_time"]
query = {"id_token_hint": second["id_token"], "post_logout_redirect_uri": env["LOGOUT_URI"], "state": "bye"}
assert visit(add_params_to_uri(metadata["end_session_endpoint"], query.items())) == env["LOGOUT_URI"] + "?state=bye"
try:
    session.refresh_token(metadata["token_endpoint"], refresh_token=second["refresh_token"])
    raise AssertionError("signed out, and it refreshes")
except OAuthError as err:
    assert err.error == "invalid_grant", err
print("authlib, OpenID Connect: passed")
