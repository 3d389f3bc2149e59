"""`switchyard` for many commands in one process: a line of JSON holds its words, the answer is a line of JSON too."""

import json
import sys

from typer.testing import CliRunner

from cli.main import app


def main() -> None:
    """Run the commands that come in on standard input."""
    runner = CliRunner()
    for line in sys.stdin:
        done = runner.invoke(app, json.loads(line))
        said = {"exit_code": done.exit_code, "stdout": done.stdout, "stderr": done.stderr}
        print(json.dumps(said), flush=True)


if __name__ == "__main__":
    main()
