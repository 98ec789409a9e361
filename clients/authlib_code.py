"""authlib against Curfew: the authorization code grant with PKCE, as a public and as a confidential client. Started by
./run."""

import os
import pathlib
import subprocess
from urllib.parse import parse_qs, urlsplit

import requests
from authlib.common.security import generate_token
from authlib.integrations.base_client import OAuthError
from authlib.integrations.requests_client import OAuth2Session

env = os.environ
os.environ["AUTHLIB_INSECURE_TRANSPORT"] = "1"  # loopback, no TLS
metadata = requests.get(env["ISSUER"] + "/.well-known/oauth-authorization-server", timeout=60).json()
browser = pathlib.Path(__file__).with_name("browser.mjs")


def sign_in(**client):
    session = OAuth2Session(
        redirect_uri=env["REDIRECT_URI"], scope="settings profile", code_challenge_method="S256", **client
    )
    verifier = generate_token(48)
    url, state = session.create_authorization_url(metadata["authorization_endpoint"], code_verifier=verifier)
    answer = subprocess.run(["node", browser, url], check=True, capture_output=True, text=True).stdout.strip()
    assert parse_qs(urlsplit(answer).query)["iss"] == [env["ISSUER"]], answer
    token = session.fetch_token(
        metadata["token_endpoint"],
        authorization_response=answer,
        state=state,
        code_verifier=verifier,
        device_name="Kitchen",
    )
    return session, dict(token)


for client in (
    {"client_id": env["APP_ID"], "token_endpoint_auth_method": "none"},
    {"client_id": env["SITE_ID"], "client_secret": env["SITE_SECRET"]},
):
    session, first = sign_in(**client)
    second = dict(session.refresh_token(metadata["token_endpoint"], refresh_token=first["refresh_token"]))
    assert second["refresh_token"] != first["refresh_token"]
    devices = session.get(env["ISSUER"] + "/settings/devices").json()["devices"]
    assert [d["name"] for d in devices if d["current"]] == ["Kitchen"], devices
    assert session.delete(env["ISSUER"] + "/settings/devices/current").status_code == 200
    try:
        session.refresh_token(metadata["token_endpoint"], refresh_token=second["refresh_token"])
    except OAuthError as err:
        assert err.error == "invalid_grant", err
    else:
        raise AssertionError("signed out, and refreshed")
print("authlib, code: passed")
