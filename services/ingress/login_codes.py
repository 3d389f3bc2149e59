"""Sign-in codes that were used: kept beside the spool, so that a link works once for all who share the folder."""

import sqlite3
import time
from contextlib import closing
from pathlib import Path


def use(folder: Path, code_id: str, expires: float) -> bool:
    """Mark a code as used; False when it was used before. Blocking."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    with closing(sqlite3.connect(folder / "sign-in.sqlite", timeout=5)) as database, database:
        database.execute("create table if not exists used_codes (id text primary key, expires real not null)")
        database.execute("delete from used_codes where expires < ?", (time.time() - 60,))
        added = database.execute("insert or ignore into used_codes values (?, ?)", (code_id, expires))
        return added.rowcount == 1
