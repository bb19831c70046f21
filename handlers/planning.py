"""What a start will cost an exchange's limits, worked out before anything is dialled.

Plain arithmetic on the facts (``Limits``): how many connections, requests and REST weight a number of books
takes, and how long the limits make that last. ``handlers.feed`` shards and fetches by the same functions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from handlers._ffi import lib
from handlers.facts import Rate, Sync, Venue
from handlers.subscriptions import shard

CONNECTIONS_MAX = int(lib.BW_FEED_CONNECTIONS_MAX) - 1  # one is kept for rollovers
SPARE_BOOKS = 8  # room in shared memory for symbols that come by a reload
WARM_UP_S = 300.0  # all snapshots of a start should fit the REST budget of so many seconds


@dataclass(frozen=True)
class VenuePlan:
    """A start of one exchange. Times are seconds, from the limits alone: the network comes on top."""

    venue: str
    books: int
    connections: int
    books_per_connection: int  # of the fullest
    requests: int  # subscribe messages, all connections together
    rest_requests: int
    rest_weight: float
    rest_limit: Rate
    connect_s: float  # until the last connection may be dialled
    request_s: float  # until the last request of the slowest connection may be sent
    rest_s: float  # until the last snapshot may be asked for

    @property
    def warm_up_s(self) -> float:
        """Until every book can be live: requests and snapshots go on side by side."""
        return self.connect_s + max(self.request_s, self.rest_s)


def paced_s(amount: float, rate: Rate) -> float:
    """Seconds until the last of ``amount`` may be spent: each window of ``per_s`` takes ``count``."""
    if amount <= rate.count:
        return 0.0
    return -(-(amount - rate.count) // rate.count) * rate.per_s


def affordable_snapshot(venue: Venue, books: int) -> int:
    """Index in ``venue.snapshots`` of the deepest one that all books can have within the warm-up."""
    rate = venue.limits.rest
    budget = rate.count / rate.per_s * WARM_UP_S
    fitting = (at for at, how in enumerate(venue.snapshots) if books * how.weight <= budget)
    return next(fitting, len(venue.snapshots) - 1)


def plan(venue: Venue, symbols: Sequence[str], connections_max: int = CONNECTIONS_MAX) -> VenuePlan:
    """The start of an exchange with these native symbols (what counts is how many and how long they are).

    Raises SetupError if they need more than ``connections_max`` connections.
    """
    limits = venue.limits
    shards = shard(venue, symbols, connections_max)
    requests = [-(-len(one) // limits.subscriptions_per_request) for one in shards]
    messages = [count + len(venue.on_connect) for count in requests]
    rest_weight = float(limits.symbols_weight)
    rest_requests = 1
    if venue.sync is Sync.REST_SNAPSHOT:
        how = venue.snapshots[affordable_snapshot(venue, len(symbols))]
        rest_weight += how.weight * len(symbols)
        rest_requests += len(symbols)
    if venue.token is not None:
        rest_weight += venue.token.weight * len(shards)
        rest_requests += len(shards)
    slowest = max((_requests_s(venue, count) for count in messages), default=0.0)
    if venue.snapshot_request is not None and limits.snapshot_requests is not None:
        slowest = max(slowest, paced_s(max(map(len, shards), default=0), limits.snapshot_requests))
    if limits.address_requests is not None:
        slowest = max(slowest, paced_s(sum(messages), limits.address_requests))
    return VenuePlan(
        venue=venue.id,
        books=len(symbols),
        connections=len(shards),
        books_per_connection=max(map(len, shards), default=0),
        requests=sum(requests),
        rest_requests=rest_requests,
        rest_weight=rest_weight,
        rest_limit=limits.rest,
        connect_s=paced_s(len(shards), limits.connects),
        request_s=venue.settle_s + slowest,
        rest_s=paced_s(rest_weight, limits.rest),
    )


def _requests_s(venue: Venue, messages: int) -> float:
    """Pacing of one connection's messages, by whichever of its limits is the slowest."""
    rates = (venue.limits.requests, venue.limits.operations)
    return max(paced_s(messages, rate) for rate in rates if rate is not None)
