"""Saying something in sidebars: posts, what a test has shown, what a sidebar waits for."""

from typing import NamedTuple

from services.session_worker import data_refs, sidebars, store
from services.session_worker.handlers.mentions import mention_agents
from services.session_worker.handlers.sidebar_locks import add_history, check_session, hold, known
from services.session_worker.store.sidebars import Held
from shared.bus.replies import BatchHandler, Handler, Reply, SessionMissing
from shared.database import Transaction
from shared.errors import Rejected
from shared.messages import Command, Event, JsonText, new_id
from shared.messages.sidebar import Exchange, ExchangeKind, Sidebar
from shared.messages.sidebar_commands import PostToSidebar, ReportTestResult, ReportWaiting
from shared.messages.sidebar_events import SidebarExchange, SidebarTestResult, SidebarWaitingUpdate


class Said(NamedTuple):
    """What is to be said, and who is mentioned in it."""

    kind: ExchangeKind
    text: str
    data_refs: JsonText
    mentions: list[str]


def said_in(sidebar: Sidebar, said: Said, command: Command, moment: str) -> tuple[Sidebar, Exchange]:
    """The sidebar with something said in it, under the next number. Raises `Rejected("too_large")`."""
    exchange = Exchange.trusted(
        {
            "exchange_id": new_id(),
            "sidebar_id": sidebar.sidebar_id,
            "seq": sidebar.exchange_count + 1,
            "kind": said.kind,
            "author": command.sender_agent_id,
            "text": said.text,
            "data_refs": said.data_refs,
            "mentions": said.mentions,
            "origin_sidebar_id": None,
            "message_id": command.message_id,
            "created": moment,
        }
    )
    # The activity is indexed: moved once a second, a busy sidebar's posts touch no index of it.
    is_fresh = sidebar.last_activity[:19] == moment[:19]
    after = {
        "exchange_count": exchange.seq,
        "data_refs": data_refs.united(sidebar.data_refs, said.data_refs),
        "last_activity": sidebar.last_activity if is_fresh else moment,
    }
    return sidebar.model_copy(update=after), exchange


def posted(sidebar: Sidebar, exchange: Exchange) -> SidebarExchange:
    """The event of something said."""
    return sidebars.told(SidebarExchange, sidebar, exchange=exchange)


async def post_to_sidebar(tx: Transaction, commands: list[Command]) -> list[Reply | Rejected | SessionMissing]:
    """Say things in sidebars, each sees those before it; one statement for all that is said."""
    asked_of = sorted({command.data.sidebar_id for command in commands})
    held = await store.sidebars.lock_sidebars(tx, asked_of)
    now = {sidebar_id: each.sidebar for sidebar_id, each in held.items()}
    answers: list[Reply | Rejected | SessionMissing] = []
    exchanges: list[Exchange] = []
    reach: list[tuple[Command, Reply, Sidebar, Exchange]] = []
    for command in commands:
        try:
            sidebar, exchange = _post(command, held, now)
        except (Rejected, SessionMissing) as refusal:
            answers.append(refusal)
            continue
        now[sidebar.sidebar_id] = sidebar
        exchanges.append(exchange)
        reply = Reply({"exchange": exchange}, [posted(sidebar, exchange)])
        answers.append(reply)
        if exchange.mentions:
            reach.append((command, reply, sidebar, exchange))
    if exchanges:
        await store.sidebar_exchanges.insert_exchanges(tx, exchanges)
        await store.sidebars.save_sidebars(
            tx, [now[each] for each in dict.fromkeys(exchange.sidebar_id for exchange in exchanges)]
        )
    for command, reply, sidebar, exchange in reach:
        reply.events += await _mentions(tx, command, sidebar, exchange)
    return answers


def _post(command: Command, held: dict[str, Held], now: dict[str, Sidebar]) -> tuple[Sidebar, Exchange]:
    asked: PostToSidebar = command.data
    found = known(held, asked.sidebar_id, command)
    sidebar = now[asked.sidebar_id]
    sidebars.check_access(sidebar, command)
    check_session(found)
    sidebars.check_open(sidebar)
    mentions = sidebars.mentioned(asked.text, sidebar, command.sender_agent_id)
    said = Said("post", asked.text, data_refs.checked(asked.data_refs), mentions)
    return said_in(sidebar, said, command, found.moment)


async def _mentions(tx: Transaction, command: Command, sidebar: Sidebar, exchange: Exchange) -> list[Event]:
    """The events that reach those whom an exchange mentions, wherever they are."""
    return [
        *await mention_agents(
            tx,
            command,
            exchange.mentions,
            message=exchange.text,
            context_refs=[exchange.exchange_id],
            session_id=sidebar.session_id,
            sidebar_id=sidebar.sidebar_id,
            participants=sidebar.participants,
        )
    ]


async def report_test_result(tx: Transaction, command: Command) -> Reply:
    """Tell a sidebar what a test has shown; its status stays what it is."""
    asked: ReportTestResult = command.data
    held = await hold(tx, command, asked.sidebar_id)
    sidebars.check_open(held.sidebar)
    lines = [f"{asked.test_description}: {asked.result}", asked.findings]
    if asked.next_test_suggestion:
        lines.append(f"Next: {asked.next_test_suggestion}")
    sidebar, exchange = _said(held.sidebar, "test_result", "\n\n".join(lines), command, held.moment)
    event = sidebars.told(
        SidebarTestResult,
        sidebar,
        test_description=asked.test_description,
        result=asked.result,
        findings=asked.findings,
        next_test_suggestion=asked.next_test_suggestion,
        tested_by=command.sender_agent_id,
        exchange=exchange,
    )
    return await _reported(tx, command, sidebar, exchange, [event])


async def report_waiting(tx: Transaction, command: Command) -> Reply:
    """Say what a sidebar waits for, and let it wait; one that waits already waits for this now."""
    asked: ReportWaiting = command.data
    held = await hold(tx, command, asked.sidebar_id)
    sidebars.check_open(held.sidebar)
    sidebar = held.sidebar.model_copy(update={"waiting_for": asked.waiting_for})
    moves: list[Event] = []
    if sidebar.status != "waiting":
        by = command.sender_agent_id
        sidebar, updates = sidebars.moved(sidebar, "waiting", reason=asked.description, by=by, moment=held.moment)
        moves += updates
    sidebar = sidebar.model_copy(update={"reason": asked.description})
    sidebar, exchange = _said(sidebar, "waiting", asked.description or asked.waiting_for, command, held.moment)
    event = sidebars.told(
        SidebarWaitingUpdate,
        sidebar,
        waiting_for=asked.waiting_for,
        description=asked.description,
        estimated_wait_time=asked.estimated_wait_time,
        dependency_refs=asked.dependency_refs,
        exchange=exchange,
    )
    return await _reported(tx, command, sidebar, exchange, [*moves, event])


def _said(sidebar: Sidebar, kind: ExchangeKind, text: str, command: Command, moment: str) -> tuple[Sidebar, Exchange]:
    mentions = sidebars.mentioned(text, sidebar, command.sender_agent_id)
    return said_in(sidebar, Said(kind, text, data_refs.NONE, mentions), command, moment)


async def _reported(
    tx: Transaction, command: Command, sidebar: Sidebar, exchange: Exchange, events: list[Event]
) -> Reply:
    await store.sidebar_exchanges.insert_exchanges(tx, [exchange])
    await store.sidebars.save_sidebars(tx, [sidebar])
    await add_history(tx, command, events)
    events += await _mentions(tx, command, sidebar, exchange)
    return Reply({"sidebar": sidebar, "exchange": exchange}, events)


HANDLERS: dict[str, Handler] = {handler.__name__: handler for handler in (report_test_result, report_waiting)}
BATCH_HANDLERS: dict[str, BatchHandler] = {"post_to_sidebar": post_to_sidebar}
