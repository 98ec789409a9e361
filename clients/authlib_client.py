"""authlib against Curfew: metadata, password, refresh, client credentials, introspection, revocation, and the access token
through the published keys. Started by ./run."""

import os

import requests
from authlib.integrations.requests_client import OAuth2Session
from authlib.jose import JsonWebKey, jwt

env = os.environ
metadata = requests.get(env["ISSUER"] + "/.well-known/oauth-authorization-server", timeout=60).json()
assert metadata["issuer"] == env["ISSUER"]
keys = JsonWebKey.import_key_set(requests.get(metadata["jwks_uri"], timeout=60).json())

web = OAuth2Session(env["WEB_ID"], token_endpoint_auth_method="none", token_endpoint=metadata["token_endpoint"],
                    revocation_endpoint_auth_method="none")
token = web.fetch_token(metadata["token_endpoint"], grant_type="password", username=env["USERNAME"], password=env["PASSWORD"])
first = dict(token)
claims = jwt.decode(first["access_token"], keys)
claims.validate()
assert claims["iss"] == env["ISSUER"] and claims["device_id"] == first["device_id"]

second = dict(web.refresh_token(metadata["token_endpoint"], refresh_token=first["refresh_token"]))
assert second["refresh_token"] != first["refresh_token"]

api = OAuth2Session(env["API_ID"], env["API_SECRET"], scope="revocations")
own = api.fetch_token(metadata["token_endpoint"], grant_type="client_credentials")
assert jwt.decode(own["access_token"], keys)["sub"] == env["API_ID"]


def active(access_token):
    answer = api.introspect_token(metadata["introspection_endpoint"], token=access_token)
    assert answer.status_code == 200, answer.text
    return answer.json()["active"]


assert active(second["access_token"])
answer = requests.post(metadata["revocation_endpoint"], data={"token": second["refresh_token"], "client_id": env["WEB_ID"]}, timeout=60)
assert answer.status_code == 200, answer.text
assert not active(second["access_token"])
print("authlib: passed")
