"""What an instrument is belongs to its key: USD and USDT, spot and perpetual never meet in one book."""

from __future__ import annotations

from handlers.facts import Instrument, Kind

PERPETUAL = int(Kind.PERPETUAL)


def test_names_say_what_an_instrument_is() -> None:
    spot = Instrument("BTC_USDC", "BTC", "USDC", 2, 4)
    linear = Instrument("BTC_USDC-PERPETUAL", "BTC", "USDC", 1, 4, Kind.PERPETUAL)
    inverse = Instrument("BTC-PERPETUAL", "BTC", "USD", 1, 0, Kind.PERPETUAL, inverse=True)
    names = [row.canonical for row in (spot, linear, inverse)]
    assert names == ["BTC-USDC", "BTC-USDC-PERPETUAL", "BTC-PERPETUAL"]


async def test_a_consolidated_book_holds_one_kind_and_one_quote_only(gateway):
    rows = [
        ("binance", "BTC-USDT", "BTCUSDT", 0, 100),
        ("okx", "BTC-USDT", "BTC-USDT", 0, 101),
        ("coinbase", "BTC-USD", "BTC-USD", 0, 102),
        ("deribit", "BTC-PERPETUAL", "BTC-PERPETUAL", PERPETUAL, 103),
        ("deribit", "BTC-USDT-PERPETUAL", "BTC_USDT-PERPETUAL", PERPETUAL, 104),
        ("phemex", "BTC-USDT", "BTCUSDT", PERPETUAL, 105),  # a name that spot has as well
    ]
    writers = {name: gateway.writer(name) for name in dict.fromkeys(row[0] for row in rows)}
    for name, canonical, native, kind, price in rows:
        book = writers[name].add(canonical, native=native, kind=kind)
        writers[name].reset(book, [(price, 10, 1)], [(price + 1000, 10, 1)])
    async with gateway.client() as client:
        for channel, prices in (("consbook:BTC-USDT", [101, 100]), ("consbook:BTC-USD", [102])):
            await client.ask(op="subscribe", channel=channel, mode="inc", interval=0)
            snapshot = await client.next()
            assert [int(row[0] * 100) for row in snapshot["data"]["bids"]] == prices, channel
        refused = await client.ask(op="subscribe", channel="consbook:BTC-PERPETUAL")
        assert refused["type"] == "error", "perpetuals are served under their exchange only"
        for channel, price in (("deribit:BTC-PERPETUAL", 103), ("deribit:btc_usdt-perpetual", 104)):
            await client.ask(op="subscribe", channel=channel, mode="inc", interval=0)
            snapshot = await client.next()
            assert [int(row[0] * 100) for row in snapshot["data"]["bids"]] == [price], channel


async def test_a_name_that_two_kinds_have_is_spots(gateway):
    writer = gateway.writer("phemex")
    for kind, price in ((PERPETUAL, 7), (0, 5)):
        book = writer.add("BTC-USDT", native=("BTCUSDT" if kind else "sBTCUSDT"), kind=kind)
        writer.reset(book, [(price, 10, 1)], [])
    async with gateway.client() as client:
        await client.ask(op="subscribe", channel="phemex:BTC-USDT", mode="inc", interval=0)
        snapshot = await client.next()
        assert [int(row[0] * 100) for row in snapshot["data"]["bids"]] == [5]
