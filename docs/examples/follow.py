#!/usr/bin/env python3
"""Follows Curfew's revocation feed and checks tokens against it. Standard library only.

    ISSUER=http://127.0.0.1:8080 CLIENT_ID=api CLIENT_SECRET=... SUBSCRIBER=py-1 python3 follow.py

Reads claims as JSON, one token a line, on standard input (the signature is your JWT library's part) and answers
"alive" or "revoked", or "unknown" while the feed is not fresh.
"""
import base64
import json
import os
import random
import sys
import threading
import time
import urllib.parse
import urllib.request

BOUND = 30.0  # seconds after which the knowledge is too old
LATE = 5.0  # seconds that a heartbeat may take to come, or a clock may be set back by; then the feed is asked anew


class Feed:
    def __init__(self, issuer, client_id, secret, subscriber):
        self.issuer, self.client_id, self.secret, self.subscriber = issuer, client_id, secret, subscriber
        self.valid_from = {}  # (level, subject) -> (valid_from, expires_at, kept until, by our clock)
        self.seq = 0
        self.fresh_at = float("-inf")

    def alive(self, claims):
        """True, False, or None while it is not known."""
        if time.monotonic() - self.fresh_at > BOUND:
            return None
        subjects = [("client", claims["client_id"]), ("everyone", None)]
        if "device_id" in claims:
            subjects += [("device", claims["device_id"]), ("user", claims["sub"])]
        return all(claims["iat_us"] > self.valid_from.get(s, (0,))[0] for s in subjects)

    def apply(self, event):
        key = (event["level"], event["subject"])
        if event["valid_from"] > self.valid_from.get(key, (0,))[0]:
            life = (event["expires_at"] - event["valid_from"]) / 1e6 + 1
            self.valid_from[key] = (event["valid_from"], event["expires_at"], time.monotonic() + life)
        self.seq = max(self.seq, event["seq"])

    def token(self):
        quote = urllib.parse.quote_plus
        basic = base64.b64encode(f"{quote(self.client_id)}:{quote(self.secret)}".encode()).decode()
        request = urllib.request.Request(
            self.issuer + "/oauth2/token", b"grant_type=client_credentials&scope=revocations", {"Authorization": "Basic " + basic})
        with urllib.request.urlopen(request, timeout=10) as answer:
            return json.load(answer)["access_token"]

    def acknowledge(self, token):
        body = json.dumps({"subscriber": self.subscriber, "seq": self.seq}).encode()
        request = urllib.request.Request(
            self.issuer + "/oauth2/revocations/ack", body, {"Authorization": "Bearer " + token, "Content-Type": "application/json"})
        urllib.request.urlopen(request, timeout=10).close()

    def follow_once(self):
        token = self.token()
        url = self.issuer + "/oauth2/revocations?subscriber=" + self.subscriber
        headers = {"Authorization": "Bearer " + token, "Last-Event-ID": str(self.seq)}
        asked, first = time.monotonic(), None
        # The time-out is for silence: heartbeats come at least every 15 s.
        with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=BOUND) as stream:
            kind, data, acknowledged = "", "", -1
            for line in stream:
                line = line.decode().rstrip("\n")
                if line.startswith("event: "):
                    kind = line[7:]
                elif line.startswith("data: "):
                    data = line[6:]
                elif line == "" and data:
                    value = json.loads(data)
                    if kind == "revocation":
                        self.apply(value)
                    elif kind == "heartbeat":
                        self.seq, now = value["seq"], time.monotonic()
                        # What counts is when it was made: the first one after we asked, this one as much later as it says.
                        first = first or value["time"]
                        self.fresh_at = min(now, asked + (value["time"] - first) / 1e6)
                        self.valid_from = {k: v for k, v in self.valid_from.items() if v[1] > value["time"] or v[2] > now}
                        if now - self.fresh_at > LATE:
                            return
                    elif kind == "close":
                        return
                    # Not before the first heartbeat: it says how long the log is, and a restored one may be shorter.
                    if first and self.seq != acknowledged:
                        acknowledged = self.seq
                        self.acknowledge(token)
                    kind, data = "", ""

    def follow(self):
        wait = 0.1
        while True:
            started = time.monotonic()
            try:
                self.follow_once()
            except Exception as error:  # whatever it was: try again, and let the knowledge age
                print("feed:", error, file=sys.stderr)
            if time.monotonic() - started > 10:
                wait = 0.1
            time.sleep(wait * random.uniform(0.5, 1))
            wait = min(wait * 2, 10)


if __name__ == "__main__":
    feed = Feed(os.environ["ISSUER"], os.environ["CLIENT_ID"], os.environ["CLIENT_SECRET"], os.environ["SUBSCRIBER"])
    threading.Thread(target=feed.follow, daemon=True).start()
    for line in sys.stdin:
        print({True: "alive", False: "revoked", None: "unknown"}[feed.alive(json.loads(line))], flush=True)
