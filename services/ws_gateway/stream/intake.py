"""From the stream to the hub: cursors, copies left out, and what is no event."""

import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from services.ws_gateway.delivery.dedup import STATUS_TYPES, Statuses
from services.ws_gateway.fanout.hub import Hub
from services.ws_gateway.metrics import Metrics
from services.ws_gateway.stream.frames import Frame, event_frame
from shared.bus.tail import StreamEvent
from shared.logs import get_logger

# Copies come within minutes of each other; at the highest rates this is still the last ten seconds.
REMEMBERED_IDS = 50_000
log = get_logger()


@dataclass(frozen=True, slots=True)
class Epoch:
    """One life of the stream: its name, and what to add to an offset to get a cursor."""

    name: str
    base: int


class Intake:
    """Takes what the tail reads and gives it to the hub, each event once."""

    def __init__(self, hub: Hub, metrics: Metrics) -> None:
        self._hub = hub
        self._metrics = metrics
        self._ids: OrderedDict[str, None] = OrderedDict()
        self._awaits_first = True
        self._watchers: dict[str, list[Callable[[Frame], None]]] = {}
        self._statuses = Statuses()
        # Told of the last of those events that went out together.
        self.on_written: list[Callable[[Frame], None]] = []
        self.epoch = Epoch("", 0)
        # How many events came, copies included.
        self.taken = 0

    def watch(self, kind: str, look: Callable[[Frame], None]) -> None:
        """Have every event of a type looked at before it goes out, those that fill the ring at the start too."""
        self._watchers.setdefault(kind, []).append(look)

    def begin(self, epoch: Epoch, offset: int) -> None:
        """Events of this epoch follow, from an offset on. If it is another epoch than before, listeners are told."""
        before, self.epoch = self.epoch, epoch
        last = self._hub.cursor
        self._hub.start(epoch.base + offset - 1)
        self._awaits_first = True
        if before.name and before.name != epoch.name:
            log.warning("event_log_recreated", epoch=epoch.name, base=epoch.base, last_cursor=last)
            # Cursors seen from the old stream that the new one gives again stand for other events now.
            self._hub.tell_gap(min(last + 1, epoch.base), max(last, epoch.base - 1), "epoch")

    def restart(self, offset: int) -> None:
        """The stream has lost what it had from this offset on; listeners are told."""
        last = self._hub.cursor
        self._hub.start(self.epoch.base + offset - 1)
        self._hub.tell_gap(self.epoch.base + offset, last, "epoch")

    @property
    def next_offset(self) -> int:
        """Where the tail goes on in the stream."""
        return self._hub.cursor - self.epoch.base + 1

    def take(self, events: Sequence[StreamEvent]) -> None:
        """Hand on events that were read together."""
        began = time.perf_counter()
        base, hub, ids = self.epoch.base, self._hub, self._ids
        if self._awaits_first:
            # Older ones than the first may have been asked for, but have gone from the stream.
            self._awaits_first = False
            if base + events[0].offset - 1 > hub.cursor:
                hub.start(base + events[0].offset - 1)
        frames: list[Frame] = []
        for offset, routing_key, body, _ in events:
            cursor = base + offset
            if cursor <= hub.cursor:
                continue
            try:
                frame = event_frame(cursor, routing_key, body)
            except ValueError as fault:
                self._metrics.unreadable.inc()
                log.warning("event_unreadable", cursor=cursor, routing_key=routing_key, reason=str(fault)[:200])
                continue
            if frame.message_id:
                if frame.message_id in ids:
                    self._metrics.copies.inc()
                    continue
                ids[frame.message_id] = None
            if frame.type in self._watchers:
                _show(frame, self._watchers[frame.type])
            if frame.type in STATUS_TYPES and self._statuses.is_repeated(frame):
                self._metrics.repeated.inc()
                continue
            frames.append(frame)
        while len(ids) > REMEMBERED_IDS:
            ids.popitem(last=False)
        if frames:
            self._hand_out(frames)
            _show(frames[-1], self.on_written)
        hub.cursor = max(hub.cursor, base + events[-1].offset)
        self.taken += len(events)
        self._metrics.events_in.inc(len(events))
        self._metrics.fan_out.observe(time.perf_counter() - began)

    def _hand_out(self, frames: list[Frame]) -> None:
        try:
            self._hub.publish(frames)
        except Exception:  # (a mistake of ours: nobody can say who got what, but all can ask for it again)
            log.exception("events_not_handed_out", first=frames[0].cursor, last=frames[-1].cursor)
            self._hub.tell_gap(frames[0].cursor, frames[-1].cursor, "backpressure")


def _show(frame: Frame, lookers: list[Callable[[Frame], None]]) -> None:
    """Have an event looked at; whoever fails at it must not keep it, and what came with it, from the others."""
    for look in lookers:
        try:
            look(frame)
        except Exception:
            log.exception("event_look_failed", cursor=frame.cursor, type=frame.type)
