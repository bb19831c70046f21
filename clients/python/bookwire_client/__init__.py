"""Order books of a Bookwire gateway, kept right for you: ``Client`` talks, ``Book`` holds.

async with Client("ws://127.0.0.1:8081/") as client:
    book = await client.subscribe("consbook:BTC-USDT", depth=50)
    async for event in client.events():
        print(book.mid, book.spread_bps, book.average_price("buy", 2.0))
"""

from bookwire_client.arb import Arb, Leg, Opportunity
from bookwire_client.book import EXCHANGES, Book, Level
from bookwire_client.client import Client, Events
from bookwire_client.events import (
    ArbChanged,
    BookChanged,
    Connected,
    Disconnected,
    Event,
    EventsDropped,
    Heartbeat,
    Message,
    ReconnectNotice,
    Refused,
    RefusedError,
    StatusChanged,
)

__all__ = [
    "EXCHANGES",
    "Arb",
    "ArbChanged",
    "Book",
    "BookChanged",
    "Client",
    "Connected",
    "Disconnected",
    "Event",
    "Events",
    "EventsDropped",
    "Heartbeat",
    "Leg",
    "Level",
    "Message",
    "Opportunity",
    "ReconnectNotice",
    "Refused",
    "RefusedError",
    "StatusChanged",
]
