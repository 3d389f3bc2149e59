"""Group commit: many commands in one transaction, each with its reply, its events and its record."""

from collections.abc import Mapping, Set
from dataclasses import dataclass, field
from datetime import timedelta

from shared.bus import handled
from shared.bus.audit import Entry, entry_of, is_audited
from shared.bus.callbacks import CallbackOwed, command_reply, kept
from shared.bus.follow_ups import FollowUp, commands_of
from shared.bus.numbering import number_events
from shared.bus.parking import Wait, Wake
from shared.bus.publications import Publication, kept_publications, publications
from shared.bus.repetitions import fingerprint, refusal_of_another
from shared.bus.replies import BatchHandler, Handler, Reply, SessionMissing, Undone, error_reply
from shared.bus.sharing import Sharing, gather, neighbours
from shared.bus.topology import EVENTS
from shared.database import Transaction
from shared.errors import Rejected, SwitchyardError, conflict, not_found
from shared.messages import Command, JsonText, encode

KEEP_DELIVERIES = timedelta(days=7)
KEEP_COMMANDS = timedelta(hours=24)
OPEN = ("active", "paused")


@dataclass(slots=True)
class Outcome:
    """What became of a command: its reply's text, what the broker has not confirmed yet of it, how many callbacks.

    `publications` are its events and then its follow-ups. `unconfirmed`: its command is acknowledged already, so that
    it is kept as such until they are confirmed.
    """

    reply: bytes
    publications: list[Publication]
    outcome: str
    callbacks: int = 0
    wakes: list[Wake] = field(default_factory=list)
    unconfirmed: bool = False

    @property
    def events(self) -> list[Publication]:
        """The events among what is not confirmed yet."""
        return [each for each in self.publications if each.exchange == EVENTS]


# What a command may come to.
Answer = Outcome | SessionMissing | Wait


class HandledElsewhere(SwitchyardError):
    """Another worker has handled one of the batch's commands meanwhile: try again, and find its record."""


class GroupCommit:
    """Runs commands through their handlers in one transaction.

    A handler decides before it writes: a `Rejected` it raises is recorded as its reply and undoes nothing.
    """

    def __init__(
        self,
        handlers: Mapping[str, Handler],
        batch_handlers: Mapping[str, BatchHandler],
        sharing: Sharing | None = None,
    ) -> None:
        self._handlers = handlers
        self._batch_handlers = batch_handlers
        self._sharing = sharing or Sharing()

    async def run(
        self,
        tx: Transaction,
        commands: list[Command],
        *,
        patient: Set[str],
        waiting: Set[str] = frozenset(),
        parked: Set[str] = frozenset(),
        fresh: bool = False,
    ) -> list[Answer]:
        """Handle commands with distinct ids; one outcome each, in their order.

        `patient` holds message ids: such a command whose session is missing is given back as `SessionMissing`, with
        nothing done, to be tried again; any other is refused as not found. `waiting` too: such a command that finds
        nothing is given back as what it waits for, unrecorded. `parked` too: such a command is acknowledged already,
        nobody delivers it again, so its events are kept for whoever finds them. `fresh`: they are taken
        to be new, without a look; if one is not, that ends in `HandledElsewhere`. Raises `HandledElsewhere`, and
        whatever a handler raises but `Rejected`; the transaction must then be rolled back.
        """
        known = {} if fresh else await handled.find_handled(tx, [command.message_id for command in commands])
        new = [command for command in commands if command.message_id not in known]
        answers = await self._handle(tx, new, patient=patient) if new else {}
        outcomes = await self._keep(tx, new, answers, waiting, parked)
        return [
            outcomes[command.message_id]
            if command.message_id not in known
            else _repeat(command, known[command.message_id])
            for command in commands
        ]

    async def run_whole(self, tx: Transaction, commands: list[Command]) -> list[Reply]:
        """Handle commands that happen as a whole or not at all; nothing is recorded, their events are numbered.

        Raises `Undone` at the first that is not done: the caller must then roll back to a savepoint of its own.
        """
        answers = await self._handle(tx, commands, patient={command.message_id for command in commands}, whole=True)
        replies = []
        for index, command in enumerate(commands):
            answer = answers.get(command.message_id)
            if isinstance(answer, Reply):
                replies.append(answer)
            elif answer is not None:
                raise Undone(index, answer)
        return replies

    async def _handle(
        self, tx: Transaction, commands: list[Command], *, patient: Set[str], whole: bool = False
    ) -> dict[str, Reply | Rejected | SessionMissing]:
        came, commands = commands, gather(commands, self._sharing.gathered)
        in_order = came if self._sharing.numbered_as_they_came else commands
        named = {session_id for command in commands for session_id in command.session_ids}
        if self._sharing.find_sessions is not None:
            named |= await self._sharing.find_sessions(tx, commands)
        statuses = await handled.lock_sessions(tx, sorted(named)) if named else {}
        answers: dict[str, Reply | Rejected | SessionMissing] = {}
        counted = at = 0
        while at < len(commands):
            run = neighbours(commands, at) if commands[at].spec.name in self._batch_handlers else [commands[at]]
            at += len(run)
            ready = []
            for command in run:
                obstacle = _obstacle(command, statuses, patient=patient)
                if obstacle is None:
                    ready.append(command)
                else:
                    answers[command.message_id] = obstacle
            if whole and len(ready) < len(run):
                return answers
            if not ready:
                continue
            batch_handler = self._batch_handlers.get(run[0].spec.name)
            if batch_handler is not None:
                replies = await batch_handler(tx, ready)
                answers |= {
                    command.message_id: reply.refusal
                    if isinstance(reply, SessionMissing) and command.message_id not in patient
                    else reply
                    for command, reply in zip(ready, replies, strict=True)
                }
            else:
                if named and _is_about_sessions(run[0]):
                    # It may show its session, which is then as the ones before it have left it.
                    await number_events(tx, _replies(in_order[counted : at - 1], answers), named)
                    counted = at - 1
                answers[ready[0].message_id] = await self._single(tx, ready[0], patient)
            if whole and not all(isinstance(answers[command.message_id], Reply) for command in ready):
                return answers
            if named and _is_about_sessions(run[0]) and not run[0].spec.reads:
                # It may have opened or closed a session that the next ones need.
                statuses = await handled.lock_sessions(tx, sorted(named))
        await number_events(tx, _replies(in_order[counted:], answers), named)
        return answers

    async def _single(self, tx: Transaction, command: Command, patient: Set[str]) -> Reply | Rejected | SessionMissing:
        try:
            return await self._handlers[command.spec.name](tx, command)
        except Rejected as refusal:
            return refusal
        except SessionMissing as missing:
            return missing if command.message_id in patient else missing.refusal

    async def _keep(
        self,
        tx: Transaction,
        commands: list[Command],
        answers: dict[str, Reply | Rejected | SessionMissing],
        waiting: Set[str],
        parked: Set[str],
    ) -> dict[str, Answer]:
        outcomes: dict[str, Answer] = {}
        records = []
        owed: list[handled.Callback] = []
        audit: list[Entry] = []
        unconfirmed: list[str] = []
        for command in commands:
            reply = answers[command.message_id]
            if isinstance(reply, SessionMissing):
                outcomes[command.message_id] = reply
                continue
            if isinstance(reply, Reply) and reply.wait is not None:
                if command.message_id in waiting:
                    outcomes[command.message_id] = reply.wait
                    continue
                reply = reply.wait.refusal or reply
            if isinstance(reply, Rejected):
                outcome = Outcome(error_reply(reply), [], reply.code)
            else:
                told = [
                    Publication(event.routing_key(), event.encoded().decode(), event.message_id, command.traceparent)
                    for event in reply.events
                ]
                if reply.commands or reply.parts:
                    told += commands_of(command, _follow_ups(reply))
                outcome = Outcome(encode({"ok": True, "result": reply.result}), told, "ok", wakes=_wakes(reply))
            callbacks = [kept(each, command.message_id) for each in _owed(command, reply)]
            outcome.callbacks = len(callbacks)
            if outcome.publications and command.message_id in parked:
                outcome.unconfirmed = True
                unconfirmed.append(command.message_id)
            owed += callbacks
            outcomes[command.message_id] = outcome
            if is_audited(command, eventful=bool(outcome.publications)):
                audit += _entries(command, reply, outcome)
            records.append(
                handled.Record(
                    command.message_id,
                    command.spec.name,
                    fingerprint(command),
                    JsonText(outcome.reply),
                    kept_publications(outcome.publications),
                    KEEP_DELIVERIES if command.spec.area == "webhook" else KEEP_COMMANDS,
                    command.caller,
                )
            )
        if not await handled.record(tx, records, audit):
            raise HandledElsewhere("a command of this batch was handled by another worker meanwhile")
        await handled.keep_callbacks(tx, owed)
        await handled.keep_unconfirmed(tx, unconfirmed)
        return outcomes


def _is_about_sessions(command: Command) -> bool:
    """Whether a command may show, open or close a session as such."""
    return not command.spec.needs_session and command.spec.area not in ("task", "agent", "memory", "sidebar")


def _obstacle(command: Command, statuses: dict[str, str], *, patient: Set[str]) -> Rejected | SessionMissing | None:
    session_id = command.session_id
    if not command.spec.needs_session or session_id is None:
        return None
    status = statuses.get(session_id)
    if status is None:
        refusal = not_found("session", session_id)
        return SessionMissing(refusal) if command.message_id in patient else refusal
    if status not in OPEN:
        return conflict(f"session {session_id!r} is {status}; nothing can be written to it", status=status)
    return None


def _entries(command: Command, reply: Reply | Rejected, outcome: Outcome) -> list[Entry]:
    """The rows of the audit log; a batch's commands have a row each, under the batch's message id."""
    if isinstance(reply, Rejected):
        return [entry_of(command, None, outcome.outcome)]
    if not reply.parts:
        return [_entry(command, reply, outcome.outcome)]
    entry = entry_of(command, reply.result, outcome.outcome)
    writes = [(part, done) for part, done in reply.parts if not part.spec.reads]
    return [entry, *(_entry(part, done, "ok", command.message_id) for part, done in writes)]


def _entry(command: Command, reply: Reply, outcome: str, message_id: str = "") -> Entry:
    """The row of a command, with the session it was about, though only its events may name that."""
    entry = entry_of(command, reply.result, outcome, message_id)
    told = {event.session_id for event in reply.events} if entry.session_id is None else set()
    return entry._replace(session_id=told.pop()) if len(told) == 1 else entry


def _owed(command: Command, reply: Reply | Rejected) -> list[CallbackOwed]:
    """The callbacks a command owes: those its handler names, and its reply's own if its sender gave a URL."""
    owed = [] if isinstance(reply, Rejected) else _with_parts(reply)
    if command.callback_url is None:
        return owed
    told = {"error": reply.as_error()} if isinstance(reply, Rejected) else {"result": reply.result}
    return [*owed, command_reply(command.callback_url, command.message_id, command.spec.name, **told)]


def _follow_ups(reply: Reply) -> list[FollowUp]:
    return [*reply.commands, *(each for _, part in reply.parts for each in part.commands)]


def _wakes(reply: Reply) -> list[Wake]:
    return [*reply.wakes, *(wake for _, part in reply.parts for wake in part.wakes)]


def _with_parts(reply: Reply) -> list[CallbackOwed]:
    return [*reply.callbacks, *(owed for _, part in reply.parts for owed in part.callbacks)]


def _repeat(command: Command, record: handled.Handled) -> Outcome:
    if refusal := refusal_of_another(command, record.caller, record.fingerprint):
        return Outcome(refusal, [], "conflict")
    return Outcome(record.reply.encode(), publications(record.events), "repeated")


def _replies(
    commands: list[Command], answers: dict[str, Reply | Rejected | SessionMissing]
) -> list[tuple[Command, Reply]]:
    """The commands that were done, each with its reply."""
    return [(command, reply) for command in commands if isinstance(reply := answers[command.message_id], Reply)]
