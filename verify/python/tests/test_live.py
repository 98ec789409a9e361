"""The verifier against a real server, with the receipt as the judge."""

import asyncio
import logging
import os
import subprocess
import sys
import threading
import time
import traceback
import unittest
import urllib.request
from typing import Any
from unittest import mock

from curfew_verify import Revocation, Verifier, VerifyError, create_verifier

from .server import DIRECT, FEED, Server, until

INTROSPECTION = "/oauth2/introspect"


class Live(unittest.TestCase):
    server: Server

    @classmethod
    def setUpClass(cls) -> None:
        cls.server = Server()
        cls.addClassCleanup(cls.server.close)

    def setUp(self) -> None:
        self.addCleanup(self.server.proxy.down.clear)
        self.addCleanup(self.server.proxy.delays.clear)
        self.addCleanup(setattr, self.server.proxy, "before", lambda path: None)

    def verifier(self, fresh: bool = True, **settings: Any) -> Verifier:
        """A verifier that follows the feed."""
        made = create_verifier(**{**self.server.settings, "subscriber": "py-1", **settings})
        self.addCleanup(made.close)
        if fresh:
            until(lambda: made.staleness() < 60, "the first heartbeat")
        return made

    def refused(self, verifier: Verifier, token: str) -> str:
        with self.assertRaises(VerifyError) as caught:
            verifier.verify(token)
        return caught.exception.code

    def accepts(self, verifier: Verifier, token: str) -> bool:
        try:
            verifier.verify(token)
        except VerifyError:
            return False
        return True

    def applied(self, *what: str) -> None:
        for _ in range(6):  # a wait is ten seconds at most
            receipt = self.server.revoke(*what)
            if receipt["acknowledged"] == 1:
                break
        self.assertEqual((receipt["subscribers"], receipt["acknowledged"]), (1, 1), receipt)


class Levels(Live):
    def test_refused_as_soon_as_the_receipt_is_there(self) -> None:
        verifier = self.verifier()
        user = verifier.verify(self.server.sign_in()["access_token"]).sub
        for level in ("device", "user", "client", "everyone"):
            with self.subTest(level):
                tokens = self.server.sign_in()
                token = tokens["access_token"]
                claims = verifier.verify(token)
                self.assertEqual((claims.sub, claims.device_id, claims.client_id), (user, tokens["device_id"], "web"))
                self.assertTrue(claims.has_scope("orders"))
                subject = {"device": tokens["device_id"], "user": "alice", "client": "web", "everyone": "--yes"}[level]
                self.applied(level, subject)
                self.assertEqual(self.refused(verifier, token), "revoked")
                verifier.verify(self.server.sign_in()["access_token"])
        stats = verifier.stats()
        self.assertEqual(stats.revoked, 4)
        self.assertGreaterEqual(stats.events, 4)
        self.assertEqual(stats.introspected, 0)

    def test_an_id_token_is_no_access_token(self) -> None:
        verifier = self.verifier()
        tokens = self.server.sign_in("openid orders")
        verifier.verify(tokens["access_token"])
        self.assertEqual(self.refused(verifier, tokens["id_token"]), "type")
        with self.assertRaises(VerifyError) as caught:
            asyncio.run(verifier.verify_async(tokens["id_token"]))
        self.assertEqual((caught.exception.code, caught.exception.status), ("type", 401))

    def test_nothing_is_compressed(self) -> None:
        verifier = self.verifier()
        self.applied("user", "alice")
        self.assertEqual(self.server.proxy.compressed, [])
        self.assertEqual(verifier.stats().connects, 1)
        # The proxy does compress for who asks.
        asked = urllib.request.Request(self.server.proxy.url + "/oauth2/jwks", headers={"Accept-Encoding": "gzip"})
        with DIRECT.open(asked, timeout=30) as answer:
            self.assertEqual(answer.headers["Content-Encoding"], "gzip")
        self.server.proxy.compressed.clear()

    def test_callbacks_come_before_the_receipt(self) -> None:
        verifier = self.verifier()
        seen: list[Revocation] = []

        def fail(_: Revocation) -> None:
            raise RuntimeError("a callback that fails")

        verifier.on_revocation(fail)
        remove = verifier.on_revocation(seen.append)
        claims = verifier.verify(self.server.sign_in()["access_token"])
        with self.assertLogs("curfew_verify", "ERROR"):
            self.applied("device", claims["device_id"])
        self.assertEqual(
            [(one.level, one.subject, one.reason) for one in seen], [("device", claims["device_id"], "revoked")]
        )
        self.assertTrue(seen[0].ends(claims))
        self.assertFalse(seen[0].ends(verifier.verify(self.server.sign_in()["access_token"])))
        remove()
        with self.assertLogs("curfew_verify", "ERROR"):
            self.applied("user", "alice")
        self.assertEqual(len(seen), 1)

    def test_assert_alive(self) -> None:
        verifier = self.verifier()
        claims = dict(verifier.verify(self.server.sign_in()["access_token"]))
        verifier.assert_alive(claims)
        asyncio.run(verifier.assert_alive_async(claims))
        self.applied("user", "alice")
        with self.assertRaises(VerifyError) as caught:
            verifier.assert_alive(claims)
        self.assertEqual(caught.exception.code, "revoked")
        for name in ("iat_us", "client_id", "sub"):
            with self.assertRaises(VerifyError) as caught:
                verifier.assert_alive({**claims, name: None})
            self.assertEqual(caught.exception.code, "claims")


class Faults(Live):
    def test_cut(self) -> None:
        verifier, proxy = self.verifier(), self.server.proxy
        token = self.server.sign_in()["access_token"]
        verifier.verify(token)
        with self.assertLogs("curfew_verify", "WARNING"):
            proxy.down.add(FEED)
            proxy.cut()
            receipt = self.server.revoke("user", "alice", wait="300ms")
            self.assertEqual((receipt["subscribers"], receipt["acknowledged"]), (1, 0))
            verifier.verify(token)  # what is known is young enough
            proxy.down.clear()
            until(lambda: verifier.stats().connects == 2, "another stream")
        self.applied("user", "alice")
        self.assertEqual(self.refused(verifier, token), "revoked")

    def test_each_stream_has_a_token_of_its_own(self) -> None:
        verifier, proxy = self.verifier(), self.server.proxy
        asked = proxy.asked.count("/oauth2/token")
        with self.assertLogs("curfew_verify", "WARNING"):
            proxy.cut()
            until(lambda: verifier.stats().connects == 2, "another stream")
        self.assertEqual(proxy.asked.count("/oauth2/token"), asked + 1)

    def test_own_token_ends(self) -> None:
        """The event that ends the verifier's own token is applied, acknowledged, and survived."""
        verifier = self.verifier()
        token = self.server.sign_in()["access_token"]
        verifier.verify(token)
        with mock.patch.object(logging.getLogger("curfew_verify"), "disabled", True):  # it says so of young streams
            self.applied("client", "api")
            until(lambda: verifier.stats().connects >= 2, "another stream")
            self.applied("everyone", "--yes")
            until(lambda: verifier.stats().connects >= 3, "another stream")
        self.assertEqual(self.refused(verifier, token), "revoked")

    def test_delayed(self) -> None:
        """Knowledge that a proxy holds up is as old as it is: nothing is accepted on it that must not be."""
        proxy = self.server.proxy
        proxy.delays[FEED] = 3.0
        verifier = self.verifier(fresh=False, bound=1)
        token = self.server.sign_in()["access_token"]
        with self.assertLogs("curfew_verify", "WARNING"):
            until(lambda: verifier.stats().connects == 2, "the stream is asked for anew, since heartbeats come late")
            self.assertGreater(verifier.staleness(), 1)
            verifier.verify(token)
            self.assertGreater(verifier.stats().introspected, 0)
            self.server.revoke("user", "alice", wait="0s")
            self.assertEqual(self.refused(verifier, token), "revoked")

    def test_policies(self) -> None:
        proxy = self.server.proxy
        verifiers = {
            policy: self.verifier(bound=1, when_stale=policy, subscriber=policy)
            for policy in ("introspect", "reject", "accept")
        }
        token = self.server.sign_in()["access_token"]
        for verifier in verifiers.values():
            until(lambda verifier=verifier: self.accepts(verifier, token), "the knowledge is young enough")
        with self.assertLogs("curfew_verify", "WARNING"):
            proxy.down.add(FEED)
            proxy.cut()
            for verifier in verifiers.values():
                until(lambda verifier=verifier: verifier.staleness() > 1, "the knowledge is old")
            verifiers["introspect"].verify(token)
            verifiers["accept"].verify(token)
            self.assertEqual(self.refused(verifiers["reject"], token), "stale")
            proxy.down.add(INTROSPECTION)
            self.assertEqual(self.refused(verifiers["introspect"], token), "unavailable")
            with self.assertRaises(VerifyError) as caught:
                verifiers["introspect"].assert_alive(verifiers["accept"].verify(token))
            self.assertEqual(caught.exception.code, "stale")
            proxy.down.discard(INTROSPECTION)
            self.server.revoke("user", "alice", wait="0s")
            self.assertEqual(self.refused(verifiers["introspect"], token), "revoked")
            verifiers["accept"].verify(token)
            proxy.down.clear()
            for verifier in verifiers.values():
                until(lambda verifier=verifier: verifier.staleness() < 1, "the feed is back")
                self.assertEqual(self.refused(verifier, token), "revoked")

    def test_up_before_the_server(self) -> None:
        self.server.stop()
        verifier = self.verifier(fresh=False)
        self.assertEqual(verifier.staleness(), float("inf"))
        with self.assertLogs("curfew_verify", "WARNING"):
            until(lambda: verifier._keys.fetches > 0, "the keys were asked for")
            self.assertEqual(self.refused(verifier, "e30.e30."), "type")
            self.server.start()
            until(lambda: verifier.staleness() < 60, "the first heartbeat")
        verifier.verify(self.server.sign_in()["access_token"])

    def test_async_blocks_nothing(self) -> None:
        proxy = self.server.proxy
        verifier = self.verifier(bound=0.2)
        token = self.server.sign_in()["access_token"]

        ticked = threading.Event()

        async def run() -> int:
            ticks, ended = 0, asyncio.Event()

            async def tick() -> None:
                nonlocal ticks
                while not ended.is_set():
                    ticks += 1
                    if ticks == 20:
                        ticked.set()
                    await asyncio.sleep(0.001)

            ticking = asyncio.create_task(tick())
            await asyncio.gather(*(verifier.verify_async(token) for _ in range(8)))
            ended.set()
            await ticking
            return ticks

        with self.assertLogs("curfew_verify", "WARNING"):
            proxy.down.add(FEED)
            proxy.cut()
            until(lambda: verifier.staleness() > 0.2, "the knowledge is old")
            # No answer before the loop has gone round so often; one that is blocked waits for the answer.
            proxy.before = lambda path: path == INTROSPECTION and ticked.wait(60)
            self.assertGreaterEqual(asyncio.run(run()), 20)
        self.assertEqual(proxy.asked.count(INTROSPECTION), 8)

    def setUp(self) -> None:
        super().setUp()
        self.server.proxy.asked.clear()


class Life(Live):
    def test_close(self) -> None:
        before = set(threading.enumerate())
        with create_verifier(**self.server.settings, subscriber="py-1", bound=0.5) as verifier:
            until(lambda: verifier.staleness() < 60, "the first heartbeat")
            token = self.server.sign_in()["access_token"]
            verifier.verify(token)
        left = {t.name for t in set(threading.enumerate()) - before if t.name.startswith("curfew-verify")}
        self.assertEqual(left, set())
        verifier.close()
        until(lambda: verifier.staleness() > 0.5, "the knowledge is old")
        self.assertEqual(self.refused(verifier, token), "unavailable")
        with self.assertRaises(VerifyError):
            asyncio.run(verifier.verify_async(token))

    def test_threads_import_nothing(self) -> None:
        """What a thread is importing while the process forks can never be imported in the child."""
        script = """if True:
            import sys, curfew_verify
            before = set(sys.modules)
            verifier = curfew_verify.create_verifier(issuer=sys.argv[1], client_id="api", client_secret=sys.argv[2])
            while verifier.staleness() > 60:
                pass
            verifier.verify(sys.argv[3])
            print(sorted(set(sys.modules) - before))
        """
        token, settings = self.server.sign_in()["access_token"], self.server.settings
        args = [sys.executable, "-c", script, settings["issuer"], settings["client_secret"], token]
        said = subprocess.run(args, capture_output=True, text=True, timeout=60, env={**os.environ, "no_proxy": "*"})
        self.assertEqual((said.stdout, said.stderr), ("[]\n", ""))

    def test_fork(self) -> None:
        """A child follows the feed itself, under another name, and believes nothing of the parent's freshness."""
        verifier = self.verifier(subscriber="py-1")
        token = self.server.sign_in()["access_token"]
        verifier.verify(token)
        up, down = os.pipe(), os.pipe()
        pid = os.fork()
        if pid == 0:
            code = 1
            try:
                assert verifier.stats().staleness == float("inf")
                verifier.verify(token)  # the issuer is asked
                until(lambda: verifier.staleness() < 60, "the child's first heartbeat")
                verifier.verify(token)
                os.write(up[1], b"+")
                os.read(down[0], 1)
                try:
                    verifier.verify(token)
                except VerifyError as err:
                    code = 0 if err.code == "revoked" else 2
            except BaseException:
                traceback.print_exc()
            finally:
                os._exit(code)
        try:
            self.assertEqual(os.read(up[0], 1), b"+")
            receipt = self.server.json("revoke", "user", "alice", "--wait", "10s")["applied"]
            self.assertEqual((receipt["subscribers"], receipt["acknowledged"]), (2, 2), receipt)
            os.write(down[1], b"+")
        finally:
            os.close(down[1])
            _, status = os.waitpid(pid, 0)
        self.assertEqual(os.waitstatus_to_exitcode(status), 0)
        self.assertEqual(self.refused(verifier, token), "revoked")


if __name__ == "__main__":
    unittest.main()
