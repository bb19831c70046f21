"""What one connection is subscribed to: planned within the venue's limits, compared with its answers.

Sans-I/O: ``take()`` gives the next frame to send, when the limits allow one; ``answer()`` and
``seen()`` tell what the venue said; time is an argument, seconds of a monotonic clock. A symbol is
acknowledged when the venue says so, or when its data comes: some answers are too coarse to rely on, and
some venues give none.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from enum import Enum

from handlers.budget import Window
from handlers.errors import SetupError
from handlers.facts import Answer, Venue

OVERDUE_S = 10.0  # an answer takes no longer
FIRST_DATA_S = 30.0  # nor does the first data where it is the only answer
TRIES_MAX = 3  # requests for one symbol without an answer before the connection is suspect


class State(Enum):
    """Of one symbol on one connection."""

    WANTED = "wanted"  # to be subscribed
    REQUESTED = "requested"
    STANDING = "standing"  # acknowledged, or its data came
    LEAVING = "leaving"  # to be unsubscribed, then subscribed afresh
    LEFT = "left"  # unsubscribe sent
    REFUSED = "refused"


@dataclass
class Subscription:
    symbol: str
    state: State = State.WANTED
    since: float = 0.0
    tries: int = 0
    alone: bool = False  # ask for it in a request of its own: a joint one was refused
    gone: bool = False  # not wanted any more: forgotten once its unsubscribe is sent


@dataclass
class _Request:
    number: int
    symbols: tuple[str, ...]
    subscribe: bool
    sent: float


@dataclass
class Subscriptions:
    """Of one connection that is open. A new connection gets a new object."""

    venue: Venue
    rows: dict[str, Subscription]
    requested: int = 0
    acknowledged: int = 0
    _requests: list[_Request] = field(default_factory=list)
    _number: int = 0

    def __post_init__(self) -> None:
        limits = self.venue.limits
        self._pace = Window(limits.requests)
        self._operations = Window(limits.operations) if limits.operations else None

    @classmethod
    def of(cls, venue: Venue, symbols: Iterable[str]) -> Subscriptions:
        return cls(venue, {symbol: Subscription(symbol) for symbol in symbols})

    def take(self, now: float, room: int = 1 << 30, permit: Callable[[], bool] = lambda: True) -> str | None:
        """Next frame to send, or None: nothing to do, or the limits say wait. At most ``room`` symbols.

        ``permit`` is asked only when there is something to send: the address's own limit.
        """
        if not self.allows(now):
            return None
        subscribe = False
        rows = self._batch(State.LEAVING, self.venue.limits.subscriptions_per_request)
        if not rows:
            subscribe = True
            rows = self._batch(State.WANTED, min(room, self.venue.limits.subscriptions_per_request))
        if not rows or (self._operations is not None and self._operations.wait(now) > 0) or not permit():
            return None
        if self._operations is not None:
            self._operations.take(now)
        self._pace.take(now)
        return self._request(rows, now, subscribe=subscribe)

    def _request(self, rows: list[Subscription], now: float, *, subscribe: bool) -> str:
        self._number += 1
        symbols = tuple(row.symbol for row in rows)
        for row in rows:
            row.state = State.REQUESTED if subscribe else State.LEFT
            row.since = now
            row.tries += subscribe
        if subscribe:
            self.requested += len(rows)
            self._requests.append(_Request(self._number, symbols, subscribe, now))
            asked = (State.REQUESTED, State.STANDING)
            whole = tuple(row.symbol for row in self.rows.values() if row.state in asked)
            return self.venue.subscribe(whole if self.venue.whole_set else symbols, self._number)
        for row in rows:
            if row.gone:
                del self.rows[row.symbol]
        assert self.venue.unsubscribe is not None  # or no row would be leaving
        if self.venue.acknowledges:
            self._requests.append(_Request(self._number, symbols, subscribe, now))
        else:
            for row in rows:
                row.state = State.WANTED
        return self.venue.unsubscribe(symbols, self._number)

    def _batch(self, state: State, most: int) -> list[Subscription]:
        rows = [row for row in self.rows.values() if row.state is state][: max(0, most)]
        return rows[:1] if rows and rows[0].alone else [row for row in rows if not row.alone]

    def allows(self, now: float) -> bool:
        """Whether the connection's limit leaves room for one more message."""
        return self._pace.used(now) < self._pace.rate.count

    def spent(self, now: float) -> None:
        """Counts a message sent on the connection for another purpose (a ping)."""
        self._pace.take(now)

    def resubscribe(self, symbol: str) -> None:
        """Asks for a fresh start of the symbol: unsubscribe, wait for the answer, subscribe.

        Where the venue unsubscribes nobody it is subscribed once more.
        """
        row = self.rows[symbol]
        if row.state is State.STANDING:
            again = self.venue.resubscribe != "unsubscribe"
            row.state, row.tries = State.WANTED if again else State.LEAVING, 0
        elif row.state is State.REFUSED:
            row.state, row.tries = State.WANTED, 0

    def add(self, symbol: str) -> None:
        """One more is wanted. One that was to leave is subscribed afresh."""
        self.rows.setdefault(symbol, Subscription(symbol)).gone = False

    def leave(self, symbol: str) -> None:
        """It is not wanted any more. Where the venue unsubscribes nobody, its data goes on and is ignored."""
        row = self.rows.get(symbol)
        if row is None:
            return
        if self.venue.unsubscribe is not None and row.state in (
            State.REQUESTED,
            State.STANDING,
            State.LEAVING,
        ):
            row.state, row.gone = State.LEAVING, True
        else:
            del self.rows[symbol]

    def give_up(self, symbol: str) -> None:
        """Nothing comes for the symbol, whatever the venue said: it counts as refused."""
        self.rows[symbol].state = State.REFUSED

    def answer(self, said: Answer, now: float) -> list[str]:
        """Takes in what the venue said; returns the symbols it refused for good."""
        if said.kind == "current":
            return self._current(set(said.symbols))
        symbols, request = self._meant(said)
        if said.kind == "refused":
            return self._refused(symbols, request, now)
        if said.kind == "listed":
            return self._listed(set(said.symbols), request)
        leaving = said.kind == "unsubscribed" or (request is not None and not request.subscribe)
        # some name the symbol and not what was asked of it: one that was left waits for no other answer
        either = bool(said.symbols) and request is None
        for symbol in symbols:
            row = self.rows.get(symbol)
            if row is None:
                continue
            if (leaving or either) and row.state is State.LEFT:
                row.state = State.WANTED
            elif not leaving and row.state is State.REQUESTED:
                self._stand(row)
        self._settle()
        return []

    def _meant(self, said: Answer) -> tuple[Sequence[str], _Request | None]:
        waiting = self._requests
        request = next((one for one in waiting if said.request == str(one.number)), None)
        if said.request is None and not said.symbols and waiting:
            request = waiting[0]
        return said.symbols or (request.symbols if request else ()), request

    def _current(self, standing: set[str]) -> list[str]:
        for row in self.rows.values():
            if row.symbol in standing and row.state is State.REQUESTED:
                self._stand(row)
            elif row.symbol not in standing and row.state is State.LEFT:
                row.state = State.WANTED
        self._settle()
        return []

    def _listed(self, got: set[str], request: _Request | None) -> list[str]:
        """What a request asked for and its answer does not name was refused without a word."""
        refused = []
        for row in [
            self.rows[symbol] for symbol in (request.symbols if request else ()) if symbol in self.rows
        ]:
            if row.state is State.LEFT:
                row.state = State.WANTED
            elif row.state is State.REQUESTED and row.symbol in got:
                self._stand(row)
            elif row.state is State.REQUESTED:
                row.state = State.REFUSED
                refused.append(row.symbol)
        self._settle()
        return refused

    def _refused(self, symbols: Sequence[str], request: _Request | None, now: float) -> list[str]:
        """A joint request refused as a whole is asked again one by one; a single one is refused."""
        rows = [self.rows[symbol] for symbol in symbols if symbol in self.rows]
        if request is not None and len(rows) == len(request.symbols):
            self._requests.remove(request)
        refused = []
        for row in rows:
            row.since = now
            if row.state is State.LEFT:  # it was not subscribed: then the fresh start is free
                row.state = State.WANTED
            elif len(rows) > 1:
                row.state, row.alone = State.WANTED, True
            elif row.state is State.REQUESTED:
                row.state = State.REFUSED
                refused.append(row.symbol)
        self._settle()
        return refused

    def seen(self, symbol: str) -> None:
        """Fresh data came, which proves the subscription."""
        row = self.rows.get(symbol)
        if row is not None and row.state in (State.REQUESTED, State.REFUSED):
            self._stand(row)
            self._settle()

    def overdue(self, now: float) -> tuple[list[str], bool]:
        """Symbols whose request is unanswered and is made again, and whether that was tried enough."""
        patience = OVERDUE_S if self.venue.acknowledges else FIRST_DATA_S
        late = [
            row
            for row in self.rows.values()
            if row.state in (State.REQUESTED, State.LEFT) and now - row.since > patience
        ]
        exhausted = any(row.tries >= TRIES_MAX for row in late)
        for row in late:
            row.state = State.WANTED
        self._requests = [one for one in self._requests if now - one.sent <= patience]
        return [row.symbol for row in late], exhausted

    def unanswered_s(self, now: float) -> float:
        """Age of the oldest request that waits for its answer, 0 if none does."""
        return max((now - one.sent for one in self._requests), default=0.0)

    def _stand(self, row: Subscription) -> None:
        row.state, row.tries = State.STANDING, 0
        self.acknowledged += 1

    def _settle(self) -> None:
        """Forgets requests that wait for nothing any more."""
        waiting = {row.symbol for row in self.rows.values() if row.state in (State.REQUESTED, State.LEFT)}
        self._requests = [one for one in self._requests if not waiting.isdisjoint(one.symbols)]

    def count(self, state: State) -> int:
        return sum(row.state is state for row in self.rows.values())


def shard(venue: Venue, symbols: Sequence[str], connections_max: int) -> list[list[str]]:
    """Symbols of each connection, dealt out in turns so that the first (the busiest) are spread.

    Raises SetupError if the venue's limits need more than ``connections_max`` connections, or than the venue
    allows an address.
    """
    limits = venue.limits
    connections_max = min(connections_max, limits.connections or connections_max)
    needed = -(-len(symbols) // limits.subscriptions_per_connection)
    while True:
        shards = [list(symbols[first::needed]) for first in range(needed)]
        longest = max((sum(len(one) + limits.argument_chars for one in row) for row in shards), default=0)
        if limits.request_chars is None or longest <= limits.request_chars:
            break
        needed += 1
    if needed > connections_max:
        raise SetupError(
            f"{len(symbols)} symbols of {venue.name} need {needed} connections of {connections_max}",
            where="symbols",
            do=f"ask for at most {connections_max * limits.subscriptions_per_connection} symbols",
        )
    return shards
