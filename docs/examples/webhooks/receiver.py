"""A webhook receiver in Python, nothing but the standard library: WEBHOOK_SECRET=whsec_… PORT=9001 python3 receiver.py"""

import base64
import hashlib
import hmac
import json
import os
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

KEY = base64.b64decode(os.environ["WEBHOOK_SECRET"].removeprefix("whsec_"))
TOLERANCE = 300  # seconds
seen: dict[str, float] = {}  # webhook-id -> when; a database table, in earnest


def verify(headers, body: bytes) -> bool:
    """The signature is over the id, the time and the bytes as they came. While a secret is rotated there are two."""
    message_id, stamp = headers.get("webhook-id", ""), headers.get("webhook-timestamp", "")
    if not stamp.isascii() or not stamp.isdigit() or abs(time.time() - int(stamp)) > TOLERANCE:
        return False
    digest = hmac.new(KEY, f"{message_id}.{stamp}.".encode() + body, hashlib.sha256).digest()
    want = b"v1," + base64.b64encode(digest)
    given = headers.get("webhook-signature", "").encode("utf-8", "replace").split(b" ")
    return any(hmac.compare_digest(want, signature) for signature in given)


def handle(event: dict) -> None:
    kind, data = event["type"], event["data"]
    if kind == "device.signed_in":
        if data["new"]:
            print(f"tell {data['username']}: a new device, {data['device_name']}, from {data['ip']}", flush=True)
    elif kind == "device.ended":
        print(f"end the sessions of device {data['device_id']}", flush=True)
    elif kind == "user.signed_out":
        print(f"end the sessions of user {data['user_id']}", flush=True)
    else:
        print(kind, flush=True)


class Receiver(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        length = self.headers.get("Content-Length", "")
        if not length.isdigit() or int(length) > 65536:
            return self.answer(413)
        body = self.rfile.read(int(length))
        if not verify(self.headers, body):
            return self.answer(401)
        message_id = self.headers["webhook-id"]
        if message_id not in seen:  # else told twice: our answer was lost
            handle(json.loads(body))
            seen[message_id] = time.time()
            for old in [i for i, at in seen.items() if at < time.time() - 86400]:
                del seen[old]
        self.answer(204)  # only now: what is not answered 2xx comes again

    def answer(self, status: int) -> None:
        self.send_response(status)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_args) -> None:
        pass


if __name__ == "__main__":
    ThreadingHTTPServer(("127.0.0.1", int(os.environ.get("PORT", "9001"))), Receiver).serve_forever()
