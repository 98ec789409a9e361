"""From the sign-out to the refusal: ``python3 -m tests.bench_feed [SIGN_OUTS]``. Ten verifiers in processes of their
own.

A time counts from before the request that signs out is sent until the revocation counts for verify, in milliseconds:
more than the time from the commit. Everything runs on one machine.
"""

import contextlib
import http.client
import multiprocessing
import statistics
import sys
import time
import urllib.parse
from multiprocessing.connection import Connection
from typing import Any

from curfew_verify import Revocation, VerifyError, create_verifier

from .server import Server, until

PROCESSES = 10
PAUSE = 0.05


def follow(settings: dict[str, Any], parent: Connection) -> None:
    """Reports when each revocation began to count, and that it does."""
    seen: list[tuple[str, int]] = []

    def told(revocation: Revocation) -> None:
        seen.append((str(revocation.subject), time.monotonic_ns()))

    with create_verifier(**settings) as verifier:
        verifier.on_revocation(told)
        until(lambda: verifier.staleness() < 60, "the first heartbeat")
        parent.send("ready")
        tokens = parent.recv()
        for token in tokens:
            verifier.verify(token)
        parent.send("verified")
        until(lambda: len(seen) >= len(tokens), "every revocation", 120)
        for token in tokens:
            with contextlib.suppress(VerifyError):
                verifier.verify(token)
                raise AssertionError("a token that was signed out is accepted")
        parent.send(seen)


def main() -> None:
    sign_outs = int(sys.argv[1]) if len(sys.argv) > 1 else 200
    settings = "MAX_DEVICES_PER_USER=1000", "LIMIT_SIGN_INS=1000000", "LIMIT_PER_ADDRESS=1000000"
    server = Server(*(f"CURFEW_{setting}" for setting in settings), direct=True)
    context = multiprocessing.get_context("spawn")
    children = []
    for _ in range(PROCESSES):
        mine, theirs = context.Pipe()
        child = context.Process(target=follow, args=(server.settings, theirs), daemon=True)
        child.start()
        children.append((child, mine))
    grants = [server.sign_in() for _ in range(sign_outs)]
    for _, pipe in children:
        assert pipe.recv() == "ready"
        pipe.send([grant["access_token"] for grant in grants])
    for _, pipe in children:
        assert pipe.recv() == "verified"
    began: dict[str, int] = {}
    connection = http.client.HTTPConnection(*server.proxy.backend, timeout=30)
    for grant in grants:
        began[grant["device_id"]] = time.monotonic_ns()
        form = urllib.parse.urlencode({"token": grant["refresh_token"], "client_id": "web"})
        connection.request("POST", "/oauth2/revoke", form, {"Content-Type": "application/x-www-form-urlencoded"})
        assert connection.getresponse().read() is not None
        time.sleep(PAUSE)
    took = sorted(
        (at - began[subject]) / 1e6 for _, pipe in children for subject, at in pipe.recv() if subject in began
    )
    assert len(took) == PROCESSES * sign_outs, f"{len(took)} of {PROCESSES * sign_outs}"
    p50, p99 = statistics.median(took), took[int(0.99 * len(took))]
    print(
        f"{PROCESSES} processes, {sign_outs} sign-outs: p50 {p50:.1f} ms, p99 {p99:.1f} ms, slowest {took[-1]:.1f} ms"
    )
    for child, _ in children:
        child.join(10)
    server.close()


if __name__ == "__main__":
    main()
