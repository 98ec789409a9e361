"""Runs the vectors that the verifiers of all languages run: ``python3 -m tests.vectors``."""

import json
import sys
from pathlib import Path
from typing import Any

from curfew_verify import VerifyError
from curfew_verify._clock import ClockJumped
from curfew_verify._events import StreamError
from curfew_verify._issuer import Document
from curfew_verify._knowledge import Stream, StreamEnded
from curfew_verify._verifier import Verifier
from curfew_verify._web import authorize

from . import kit

VECTORS = Path(__file__).resolve().parents[2] / "vectors"
OVER = (StreamError, StreamEnded, ClockJumped)


def heartbeat(seq: int, wall: float) -> bytes:
    return json.dumps({"seq": seq, "time": round(wall * 1e6)}).encode()


class Tokens:
    """tokens.json: a token or a request, and what must be said to it."""

    def __init__(self) -> None:
        self.file = json.loads((VECTORS / "tokens.json").read_text())

    def verifier(self, now: float) -> Verifier:
        verifier = kit.verifier(kit.Clock(now))
        verifier._issuer.url, verifier.audience = self.file["issuer"], self.file["audience"]
        verifier._keys.take(Document(json.loads(json.dumps(self.file["jwks"])), ""))
        Stream(verifier._knowledge).take("heartbeat", heartbeat(0, now))
        return verifier

    def wrong(self, test: dict[str, Any]) -> str | None:
        """What is wrong, if anything is."""
        verifier = self.verifier(test.get("now", self.file["now"]))
        scopes = test.get("scopes", [])
        for time in ("the first time", "again"):  # a token that was seen before
            verdict = "ok"
            try:
                if "authorization" in test:
                    authorize(verifier, test["authorization"], scopes)
                else:
                    verifier.verify(test["token"])
            except VerifyError as err:
                verdict = err.code
                answer = self.file["codes"][verdict]
                challenge = answer["challenge"] and answer["challenge"].replace("{scopes}", " ".join(scopes))
                if (err.status, err.challenge) != (answer["status"], challenge):
                    return f"{verdict}: {err.status} {err.challenge}, want {answer['status']} {challenge}"
            if verdict != test["verdict"]:
                return f"{time}: {verdict}, want {test['verdict']}"
        return None


class Transcript:
    """A test of feeds.json: what comes over a feed, and what must be said to tokens on the way."""

    def __init__(self, test: dict[str, Any], file: dict[str, Any], signer: kit.Signer) -> None:
        self.file, self.signer = file, signer
        self.clock = kit.Clock(file["now"])
        self.issuer = kit.Told()
        self.verifier = kit.verifier(self.clock, test["bound"], test["when_stale"], self.issuer)
        self.issuer.url, self.verifier.audience = file["issuer"], file["audience"]
        self.verifier._keys.take(Document({"keys": [signer.jwk]}, ""))
        self.knowledge = self.verifier._knowledge
        self.stream: Stream | None = None
        self.ended = False  # by the verifier itself
        self.tokens: dict[str, str] = {}

    def wrong(self, step: dict[str, Any]) -> str | None:
        """Takes a step: what is wrong, if anything is."""
        self.clock.go(step["at"] - self.clock.mono)
        self.clock.mono = step["at"]
        match step:
            case {"open": _}:
                self.stream, self.ended = Stream(self.knowledge), False
            case {"cut": _}:
                self.stream = None
            case {"clock": seconds}:
                self.clock.wall += seconds
            case {"event": event, "data": data}:
                self.feed(f"event: {event}\ndata: {json.dumps(data)}\n\n".encode())
            case {"raw": raw}:
                for _ in range(step.get("times", 1)):
                    self.feed(raw.encode("latin-1"))
            case {"expect": expected}:
                return self.expect(expected)
            case {"verify": claims}:
                return self.verify(claims, step)
            case _:
                return f"a step that is not known: {step}"
        return None

    def feed(self, raw: bytes) -> None:
        if self.stream is None:
            return
        try:
            self.stream.feed(raw)
        except OVER:
            self.stream, self.ended = None, True

    def expect(self, expected: dict[str, Any]) -> str | None:
        self.knowledge.index.prune(self.knowledge.instant(self.knowledge.now()))
        is_so = {"closed": self.ended, "seq": self.knowledge.seq, "entries": len(self.knowledge.index)}
        for name, value in expected.items():
            if is_so[name] != value:
                return f"{name} is {is_so[name]}, want {value}"
        return None

    def verify(self, claims: dict[str, Any], step: dict[str, Any]) -> str | None:
        text = json.dumps(claims)
        token = self.tokens.get(text) or self.tokens.setdefault(text, self.signer.sign(claims))
        self.issuer.introspection, self.issuer.asked = step.get("introspection"), 0
        verdict = "ok"
        try:
            self.verifier.verify(token)
        except VerifyError as err:
            verdict = err.code
        if verdict != step["verdict"]:
            return f"{verdict}, want {step['verdict']}"
        if self.issuer.asked and "introspection" not in step:
            return "the issuer was asked"
        return None


def run(first: bool = False) -> tuple[int, int, list[str]]:
    """Runs all, or up to the first that is wrong: how many there are of both, and what is wrong."""
    tokens, wrong = Tokens(), []
    for test in tokens.file["tests"]:
        if what := tokens.wrong(test):
            wrong.append(f"{test['id']} ({test['comment']}): {what}")
        if wrong and first:
            break
    feeds, signer = json.loads((VECTORS / "feeds.json").read_text()), kit.Signer()
    for test in feeds["tests"]:
        transcript = Transcript(test, feeds, signer)
        for number, step in enumerate(test["steps"]):
            if what := transcript.wrong(step):
                wrong.append(f"{test['id']} ({test['comment']}), step {number} at {step['at']}: {what}")
                break
        if wrong and first:
            break
    return len(tokens.file["tests"]), len(feeds["tests"]), wrong


def main() -> None:
    tokens, feeds, wrong = run()
    for line in wrong:
        print(line, file=sys.stderr)
    print(f"vectors: {tokens} tokens, {feeds} feeds, 0 skipped")
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    import logging

    logging.disable()
    main()
