"""The migrations against an empty database: do they run, and do they make what the code declares?"""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from cli.local.environment import ROOT
from cli.local.postgres import Postgres
from cli.local.processes import LocalError


def check() -> None:
    """`alembic upgrade head`, then `alembic check`, in a PostgreSQL that is thrown away; LocalError says why not."""
    with tempfile.TemporaryDirectory(prefix="switchyard-migrations-") as folder:
        Path(folder).chmod(0o755)
        server = Postgres(Path(folder) / "postgres", settings={"fsync": "off"})
        server.start()
        try:
            for words in (["upgrade", "head"], ["check"]):
                _alembic(server.url, words)
        finally:
            server.stop("immediate")


def _alembic(url: str, words: list[str]) -> None:
    command = [sys.executable, "-m", "alembic", *words]
    env = {**os.environ, "DATABASE_URL": url}
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, check=False)
    if done.returncode:
        raise LocalError(f"`alembic {' '.join(words)}` failed:\n{(done.stdout + done.stderr).strip()}")
