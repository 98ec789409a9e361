"""A verifier that is asked line by line; cmd/curfew-torture holds what it answers against a history.

VERIFIER holds the arguments of create_verifier, as JSON. Each line of standard input gets one line of JSON:

    state         {"seq": what it has applied, "staleness": in seconds, or null before the first contact}
    verify TOKEN  {"seq": what it had applied before it was asked, "code": null, or why the token is refused}
"""

import json
import math
import os
import sys

from curfew_verify import Verifier, VerifyError, create_verifier


def answer(verifier: Verifier, command: str, token: str) -> dict[str, object]:
    seq = verifier.seq()
    if command == "state":
        staleness = verifier.staleness()
        return {"seq": seq, "staleness": staleness if math.isfinite(staleness) else None}
    try:
        verifier.verify(token)
    except VerifyError as error:
        return {"seq": seq, "code": error.code}
    return {"seq": seq, "code": None}


def main() -> None:
    with create_verifier(**json.loads(os.environ["VERIFIER"])) as verifier:
        for line in sys.stdin:
            command, _, token = line.strip().partition(" ")
            print(json.dumps(answer(verifier, command, token)), flush=True)


if __name__ == "__main__":
    main()
