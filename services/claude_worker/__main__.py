"""`python -m services.claude_worker`."""

import sys

from services.claude_worker.app import run
from services.claude_worker.bots import BotsError
from services.claude_worker.settings import ClaudeWorkerSettings
from shared.bus.service import serve

if __name__ == "__main__":
    settings = ClaudeWorkerSettings()
    try:
        serve(lambda: run(settings))
    except BotsError as error:
        sys.exit(f"claude_worker: {error}")
