"""SQL that forgets old output."""

from typing import LiteralString

from shared.database import Transaction, psycopg_of

# The summaries of agent_output_stored lead to the stretches of the table where such lines are.
_LINES: LiteralString = """
    delete from agent_output where ctid = any (array(
        select ctid from agent_output where stored < now() - make_interval(secs => %s) limit %s
    ))
"""
# By extractions_newest, from its end, and the primary key.
_EXTRACTIONS: LiteralString = """
    delete from extractions where extraction_id = any (array(
        select extraction_id from extractions where created < now() - make_interval(secs => %s)
        order by created limit %s
    ))
"""
# By code_blocks_last_seen and the primary key.
_BLOCKS: LiteralString = """
    delete from code_blocks where sha256 = any (array(
        select sha256 from code_blocks where last_seen < now() - make_interval(secs => %s) order by last_seen limit %s
    ))
"""


async def delete_lines(tx: Transaction, days: float, limit: int) -> int:
    """Delete some of the lines that are older than so many days; how many."""
    return await _delete(tx, _LINES, days, limit)


async def delete_extractions(tx: Transaction, days: float, limit: int) -> int:
    """Delete some of the extractions that are older than so many days; how many."""
    return await _delete(tx, _EXTRACTIONS, days, limit)


async def delete_blocks(tx: Transaction, days: float, limit: int) -> int:
    """Delete some of the code blocks that were not seen for so many days; how many."""
    return await _delete(tx, _BLOCKS, days, limit)


async def _delete(tx: Transaction, statement: LiteralString, days: float, limit: int) -> int:
    cursor = await (await psycopg_of(tx)).execute(statement, [days * 86_400, limit])
    return cursor.rowcount
