"""`switchyard bots`: which there are, what they are at, and switching them off and on."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli.calling import calling, given
from cli.options import AsJson
from cli.screen import EXIT_CODES, fail, harmless, out

if TYPE_CHECKING:
    from cli.client import Client

app = typer.Typer(
    name="bots",
    help="List bots with what they have used today, and the pool; switch them off and on.",
    no_args_is_help=True,
    epilog=EXIT_CODES,
)
MISSING = "`switchyard bots ls` lists those there are."
BotId = Annotated[str | None, typer.Argument(metavar="[BOT]", help="The bot's id.")]
Every = Annotated[bool, typer.Option("--all", help="Every bot.")]


@app.command(epilog=EXIT_CODES)
def ls(json: AsJson = False) -> None:
    """List the bots, the clients in the pool and what waits.

    Example: `switchyard bots ls`
    """
    with calling(as_json=json) as client:
        text = client.result("chat_stats", {})
    if json:
        typer.echo(text.decode())
        return
    from json import loads

    from rich.table import Table

    stats: dict[str, Any] = loads(text)
    table = Table("BOT", "NAME", "STATE", "TURNS TODAY", "TOKENS", "COST", box=None, pad_edge=False)
    for bot in stats["bots"]:
        today, off = bot["today"], bot["switched"] or {}
        why = f"off by {off.get('by')}" + (f": {off['reason']}" if off.get("reason") else "")
        table.add_row(
            harmless(bot["bot_id"]),
            harmless(bot["name"]),
            "on" if bot["on"] else harmless(why),
            str(today["turns"]),
            f"{today['input_tokens'] + today['output_tokens']:,}",
            f"${today['cost_usd']:.4f}",
        )
    if stats["bots"]:
        out.print(table)
    else:
        out.print("No bot is declared in switchyard.toml.")
    pool, queue = stats["pool"], stats["queue"]
    hot = "no answers yet" if pool["hit_rate"] is None else f"{pool['hit_rate']:.0%} of the answers hot"
    out.print(
        f"{pool['clients']} of {pool['max_clients']} clients on {len(stats['workers'])} worker(s), {pool['busy']} "
        f"answering; {queue['queued']} queued, {queue['running']} running, {queue['parked']} parked; {hot}."
    )
    for obstacle in sorted({worker.get("obstacle") for worker in stats["workers"]} - {None}):
        out.print(f"[yellow]They can't answer: {obstacle} (`switchyard doctor` says what to do).[/]")


@app.command(epilog=EXIT_CODES)
def off(
    bot: BotId = None,
    all: Every = False,
    reason: Annotated[str | None, typer.Option(help="Why; shown with it.")] = None,
    json: AsJson = False,
) -> None:
    """Switch a bot off at once, in mid-answer too; what waits for it is dropped.

    Example: `switchyard bots off assistant --reason 'it talks nonsense'`
    """
    _switch(bot, all, json, on=False, reason=reason)


@app.command(epilog=EXIT_CODES)
def on(bot: BotId = None, all: Every = False, json: AsJson = False) -> None:
    """Switch a bot on again; with `--all`, undo `off --all`.

    Example: `switchyard bots on assistant`
    """
    _switch(bot, all, json, on=True)


def _switch(bot: str | None, every: bool, as_json: bool, *, on: bool, reason: str | None = None) -> None:
    if (bot is None) != every:
        fail("Name one bot, or say --all.", 2)
    with calling(as_json=as_json, missing=MISSING) as client:
        text = client.result("switch_bot", given(bot_id=bot, on=on, reason=reason))
        still_off = on and not every and not as_json and not _is_on(client, str(bot))
    if as_json:
        typer.echo(text.decode())
        return
    from json import loads

    which = "Every bot" if every else harmless(str(bot))
    state = "on" if on else "off"
    out.print(
        f"{which} is switched {state}." if loads(text)["changed"] else f"{which} was {state} already.", markup=False
    )
    if still_off:
        fail("But every bot is switched off, and so is this one until `switchyard bots on --all`.")


def _is_on(client: "Client", bot: str) -> bool:
    found: list[dict[str, Any]] = client.ask("chat_stats", {"bot_id": bot}, "bots")
    return all(each["on"] for each in found if each["bot_id"] == bot)
