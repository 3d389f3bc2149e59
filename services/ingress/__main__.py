"""`python -m services.ingress`: settings, then run."""

import os
import sqlite3
import sys

import uvloop
from dotenv import dotenv_values
from pydantic import ValidationError

from services.ingress.app import run
from services.ingress.settings import IngressSettings
from services.ingress.sources import SourcesError
from shared import logs


def main() -> int:
    """Run the ingress; returns the exit status."""
    try:
        settings = IngressSettings()
    except ValidationError as error:
        faults = "; ".join(f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in error.errors())
        logs.configure("ingress")
        logs.get_logger().error("settings_invalid", fault=faults, hint="see .env.example")
        return 2
    logs.configure("ingress", form=settings.log_format, level=settings.log_level)
    # Secrets of sources are named by variables, which may stand in `.env` like every other setting.
    environment = {name: value for name, value in dotenv_values(".env").items() if value} | dict(os.environ)
    try:
        return uvloop.run(run(settings, environment))
    except (SourcesError, OSError, sqlite3.Error) as error:
        logs.get_logger().error("start_failed", fault=str(error))
        return 2


if __name__ == "__main__":
    sys.exit(main())
