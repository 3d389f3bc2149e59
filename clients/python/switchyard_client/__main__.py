"""`switchyard-agent` and `python -m switchyard_client`: `agent run` of the command line, without the rest of it."""

import sys

from switchyard_client.agents.command_line import run


def main() -> None:
    """Take `run NAME …`, with or without `agent` before it."""
    words = sys.argv[1:]
    if words[:1] == ["agent"]:
        words = words[1:]
    if words[:1] == ["run"]:
        words = words[1:]
    elif words not in ([], ["--help"], ["-h"]):
        sys.exit(f"usage: switchyard-agent run NAME [options] -- COMMAND… ({words[0]!r} is not known)")
    sys.exit(run(words or ["--help"], program="switchyard-agent run"))


if __name__ == "__main__":
    main()
