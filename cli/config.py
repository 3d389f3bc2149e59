"""`switchyard config`: the settings in force, and where each comes from."""

import os
import re

from dotenv import dotenv_values
from rich.markup import escape
from rich.table import Table

from cli.local.environment import ENV_FILE, ROOT, SECRETS, Environment
from cli.screen import out

_PASSWORD = re.compile(r"(?<=:)[^:@/]+(?=@)")


def config(*, reveal: bool) -> None:
    """Print every setting with its value and its source; secrets covered unless `reveal`."""
    environment = Environment.load(ENV_FILE)
    file = dotenv_values(ENV_FILE) if ENV_FILE.exists() else {}
    names = list(dict.fromkeys([*dotenv_values(ROOT / ".env.example"), *file]))
    table = Table("setting", "value", "from", box=None, pad_edge=False)
    for name in names:
        value = environment.get(name)
        source = "environment" if os.environ.get(name) else ".env" if file.get(name) else "default"
        table.add_row(name, escape(value if reveal else covered(name, value)), source if value else "")
    table.add_row("[dim]HTTP API[/]", environment.api_url, "")
    table.add_row("[dim]WebSocket[/]", environment.gateway_url, "")
    table.add_row("[dim]data[/]", str(environment.data), "")
    out.print(table)


def covered(name: str, value: str) -> str:
    """A value that may be shown to whoever looks over one's shoulder."""
    if name in SECRETS and value:
        return f"{value[:3]}… ({len(value)} characters)"
    return _PASSWORD.sub("…", value)
