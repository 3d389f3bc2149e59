"""`switchyard sidebars`: conversations on the side, and what came of them."""

import json as jsons
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli.calling import calling, given
from cli.options import All, AsJson, Cursor, Limit, OfSession, Yes
from cli.screen import EXIT_CODES, confirm, fail, harmless, out

if TYPE_CHECKING:
    from rich.text import Text

app = typer.Typer(
    name="sidebars",
    help="List sidebars, read one, open one, say something in it, move it on, merge it or put it away.",
    no_args_is_help=True,
    epilog=EXIT_CODES,
)
MISSING = "`switchyard sidebars ls` lists those there are."
STATUSES = "active, testing, paused, waiting, reviewing, consolidating, merged, archived or failed"
# What is shown below the card, and what not as it is: the conversation is.
_BELOW = ("data_refs", "findings")
_APART = ("inherited_memory", "local_memory", "agent_capabilities", "history")

SidebarId = Annotated[str, typer.Argument(metavar="SIDEBAR", help="The sidebar's id.")]
Reason = Annotated[str | None, typer.Option(help="Why; kept with the change.")]
As = Annotated[
    str | None,
    typer.Option("--as", metavar="AGENT", help="The agent that does it; without an admin's key it must take part."),
]


@app.command(epilog=EXIT_CODES)
def ls(
    session: OfSession = None,
    parent: Annotated[str | None, typer.Option(help="Only the children of this sidebar.")] = None,
    participant: Annotated[str | None, typer.Option("--participant", "-p", help="Only those this agent is in.")] = None,
    status: Annotated[str | None, typer.Option(help=f"Only those that are {STATUSES}.")] = None,
    limit: Limit = 50,
    cursor: Cursor = None,
    all: All = False,
    agent: As = None,
    json: AsJson = False,
) -> None:
    """List sidebars, the most recently active first: with an admin's key all, else those that `--as` takes part in.

    Example: `switchyard sidebars ls --session demo --status active`
    """
    from cli.pages import Paging, print_list
    from cli.tables import Column

    columns = [
        Column("SIDEBAR", "sidebar_id", whole=True),
        Column("STATUS", "status", whole=True),
        Column("ABOUT", "task_description", comfort=24),
        Column("WHO", lambda sidebar: ", ".join(sidebar["participants"]), spare=2),
        Column("SAID", "exchange_count", whole=True, right=True, spare=3),
        Column("SESSION", "session_id", whole=True, spare=4),
        Column("LAST ACTIVE", "last_activity", whole=True, spare=1),
    ]
    wanted = given(session_id=session, parent_id=parent, participant=participant, status=status)
    with calling(as_json=json) as client:
        print_list(
            lambda size, after: client.result("list_sidebars", given(**wanted, limit=size, cursor=after), sender=agent),
            "sidebars",
            columns,
            Paging(limit, cursor, all, json),
            empty="There is no such sidebar." if wanted else "There is no sidebar yet.",
        )


@app.command(epilog=EXIT_CODES)
def show(
    sidebar: SidebarId,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, max=500, help="How much of what was said.")] = 50,
    before: Annotated[int | None, typer.Option(min=1, help="Only what was said before this number.")] = None,
    agent: As = None,
    json: AsJson = False,
) -> None:
    """Show one sidebar with what it knows from outside and what was said in it, the latest last.

    Example: `switchyard sidebars show flaky-test`
    """
    import msgspec

    from cli.pages import print_json
    from cli.tables import member, print_card

    with calling(as_json=json, missing=MISSING) as client:
        text = client.result("get_sidebar", given(sidebar_id=sidebar, limit=limit, before=before), sender=agent)
    if json:
        print_json(text)
        return
    whole = member(text, "sidebar")
    members = msgspec.json.decode(whole, type=dict[str, msgspec.Raw])
    empty = [name for name in _BELOW if bytes(members[name]) in (b"{}", b"null")]
    card = {name: raw for name, raw in members.items() if name not in (*_APART, *empty)}
    print_card(
        msgspec.json.encode(card),
        first=("sidebar_id", "session_id", "status", "task_description", "success_criteria", "participants"),
        blocks=_BELOW,
    )
    found = jsons.loads(whole)
    _print_conversation("from outside", [_inherited(item) for item in found["inherited_memory"]])
    _print_conversation("what was said", [_said(exchange) for exchange in found["local_memory"]])


def _inherited(item: dict[str, Any]) -> "Text":
    if item["exchange"] is not None:
        return _said(item["exchange"])
    memory = item["memory"]
    content = memory["content"]
    shown = content if isinstance(content, str) else jsons.dumps(content, ensure_ascii=False)
    return _line(f"memory {memory['key']} (version {memory['version']})", memory["author"], memory["updated"], shown)


def _said(exchange: dict[str, Any]) -> "Text":
    origin = exchange["origin_sidebar_id"]
    kind = "" if exchange["kind"] == "post" else f" {exchange['kind'].replace('_', ' ')}"
    where = f" from {origin}" if origin else ""
    return _line(f"{exchange['seq']}{kind}{where}", exchange["author"], exchange["created"], exchange["text"])


def _line(label: str, author: str, moment: str, text: str) -> "Text":
    from rich.text import Text

    from cli.moments import short

    head = (
        Text(f"{label}  ", style="dim") + Text(harmless(author), style="bold") + Text(f"  {short(moment)}", style="dim")
    )
    return head + Text("\n" + "\n".join(f"  {line}".rstrip() for line in harmless(text).splitlines()), style="not bold")


def _print_conversation(title: str, lines: "list[Text]") -> None:
    from rich.text import Text

    if lines:
        out.print(Text(f"\n{title}", style="bold"))
    for line in lines:
        out.print(line)


@app.command(epilog=EXIT_CODES)
def spawn(
    session: Annotated[str, typer.Argument(metavar="SESSION", help="The session it belongs to.")],
    about: Annotated[str, typer.Argument(metavar="ABOUT", help="What it is to find out.")],
    participant: Annotated[list[str], typer.Option("--participant", "-p", help="Who takes part; may be given again.")],
    sidebar: Annotated[str | None, typer.Option("--id", help="Its id; one is made when none is given.")] = None,
    parent: Annotated[str | None, typer.Option(help="The sidebar to open it under, else the session.")] = None,
    criteria: Annotated[str | None, typer.Option(help="What done looks like.")] = None,
    coordinator: Annotated[str | None, typer.Option(help="The agent that leads it; it takes part.")] = None,
    priority: Annotated[str | None, typer.Option(help="critical, high, normal, low or background.")] = None,
    refs: Annotated[str | None, typer.Option(help="What data it is about, as a JSON object.")] = None,
    agent: As = None,
    json: AsJson = False,
) -> None:
    """Open a sidebar.

    Example: `switchyard sidebars spawn demo 'Why does the checkout test fail?' -p claude -p ada --id flaky-test`
    """
    data = given(
        session_id=session,
        sidebar_id=sidebar,
        parent_id=parent,
        participants=participant,
        task_description=about,
        success_criteria=criteria,
        coordinator=coordinator,
        priority=priority,
        data_refs=_json(refs, "--refs"),
    )
    _do("spawn_sidebar", agent, json, data, missing="`switchyard sessions ls` lists the sessions there are.")


@app.command(epilog=EXIT_CODES)
def post(
    sidebar: SidebarId,
    text: Annotated[str, typer.Argument(metavar="TEXT", help="What to say; `@agent` reaches who takes part.")],
    refs: Annotated[str | None, typer.Option(help="What data it refers to, as a JSON object.")] = None,
    agent: As = None,
    json: AsJson = False,
) -> None:
    """Say something in a sidebar.

    Example: `switchyard sidebars post flaky-test '@ada the clock is mocked twice'`
    """
    data = given(sidebar_id=sidebar, text=text, data_refs=_json(refs, "--refs"))
    said = _do("post_to_sidebar", agent, json, data)
    if said is not None:
        exchange = jsons.loads(said)["exchange"]
        reached = f"; {', '.join(exchange['mentions'])} mentioned" if exchange["mentions"] else ""
        out.print(f"Said as number {exchange['seq']} of sidebar {sidebar}{reached}.", markup=False)


@app.command(epilog=EXIT_CODES)
def move(
    sidebar: SidebarId,
    status: Annotated[str, typer.Argument(metavar="STATUS", help="active, testing, paused, reviewing, failed …")],
    reason: Reason = None,
    agent: As = None,
    json: AsJson = False,
) -> None:
    """Move a sidebar to another status; a refusal names those it may have.

    Example: `switchyard sidebars move flaky-test testing --reason 'trying the second clock'`
    """
    _do("set_sidebar_status", agent, json, given(sidebar_id=sidebar, status=status, reason=reason))


@app.command(epilog=EXIT_CODES)
def fork(
    sidebar: SidebarId,
    reason: Annotated[str, typer.Argument(metavar="REASON", help="Why it is taken up again.")],
    new: Annotated[str | None, typer.Option("--id", help="The new one's id; one is made when none is given.")] = None,
    participant: Annotated[
        list[str] | None, typer.Option("--participant", "-p", help="Who takes part instead; may be given again.")
    ] = None,
    agent: As = None,
    json: AsJson = False,
) -> None:
    """Open a new sidebar that knows everything of another, which may be closed.

    Example: `switchyard sidebars fork flaky-test 'it fails again' --id flaky-test-2`
    """
    data = given(sidebar_id=sidebar, reason=reason, new_sidebar_id=new, participants=participant)
    _do("fork_sidebar", agent, json, data)


@app.command(epilog=EXIT_CODES)
def merge(
    sidebar: SidebarId,
    findings: Annotated[str | None, typer.Option(help="What was found, as text.")] = None,
    unmet: Annotated[bool, typer.Option("--unmet", help="Its criteria were not met.")] = False,
    agent: As = None,
    json: AsJson = False,
) -> None:
    """Bring what a sidebar has found to the one above it, or to its session as an artifact; once.

    Example: `switchyard sidebars merge flaky-test --findings 'Two clocks were mocked'`
    """
    data = given(sidebar_id=sidebar, findings=findings, success=not unmet)
    merged = _do("merge_sidebar", agent, json, data)
    if merged is not None:
        brought = jsons.loads(merged)["merged"]
        where = f"sidebar {brought['parent_id']}" if brought["parent_id"] else f"artifact {brought['artifact_id']}"
        out.print(f"{brought['exchange_count']} exchange(s) went to {where}.", markup=False)


@app.command(epilog=EXIT_CODES)
def archive(
    sidebar: SidebarId, reason: Reason = None, agent: As = None, yes: Yes = False, json: AsJson = False
) -> None:
    """Put a sidebar away; it can still be read, and forked.

    Example: `switchyard sidebars archive flaky-test-2 --yes`
    """
    confirm(f"archive sidebar {sidebar}", yes=yes)
    _do("archive_sidebar", agent, json, given(sidebar_id=sidebar, reason=reason))


def _json(text: str | None, option: str) -> Any:
    from cli.verbatim import json_value

    if text is None:
        return None
    try:
        return json_value(text, option)
    except ValueError as error:
        fail(str(error), 2)


def _do(command: str, agent: str | None, json: bool, data: dict[str, Any], *, missing: str = MISSING) -> bytes | None:
    """Run a command and say what has become of its sidebar; returns the result unless it was printed as JSON."""
    from cli.pages import print_json
    from cli.verbatim import data_of

    try:
        content = data_of(data)
    except ValueError as error:
        fail(str(error), 2)
    with calling(as_json=json, missing=missing) as client:
        text = client.result(command, content, sender=agent)
    if json:
        print_json(text)
        return None
    sidebar = jsons.loads(text).get("sidebar")
    if sidebar is not None:
        out.print(f"Sidebar {sidebar['sidebar_id']} is {sidebar['status']}.", markup=False)
    return text
