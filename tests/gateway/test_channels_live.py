"""All channel kinds over real sockets: ack, snapshot, deltas, and what they must contain."""

from __future__ import annotations

from decimal import Decimal


async def test_ack_then_snapshot_then_deltas(gateway):
    writer = gateway.writer("binance")
    book = writer.add("BTC-USDT")
    writer.reset(book, [(4500050, 12340, 5), (4500000, 10, 1)], [(4500100, 7890, 2)])
    async with gateway.client() as client:
        ack = await client.ask(op="subscribe", channel="binance:BTC-USDT", mode="inc", interval=0, id=7)
        assert ack == {"type": "subscribed", "channel": "binance:BTC-USDT", "id": 7}
        snapshot = await client.next()
        assert snapshot["type"] == "snapshot"
        assert snapshot["channel"] == "binance:BTC-USDT"
        assert snapshot["data"]["bids"] == [
            [Decimal("45000.5"), Decimal("1.234"), 5],
            [45000, Decimal("0.001"), 1],
        ]
        assert snapshot["data"]["asks"] == [[45001, Decimal("0.789"), 2]]
        writer.change(book, [(4500000, 0, 0)], [(4500100, 8000, 3)])
        delta = await client.next()
        assert delta["type"] == "delta"
        assert delta["data"]["bids"] == [[45000, 0, 0]]
        assert delta["data"]["asks"] == [[45001, Decimal("0.8"), 3]]
