//! A book as snapshots and deltas leave it. No I/O: [`crate::Client`] feeds it, tests and replays may as well.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::Decimal;

/// Position is the exchange's number, which orders equal levels of a fullbook.
pub const EXCHANGES: [&str; 21] = [
    "binance", "coinbase", "okx", "bybit", "kraken", "gemini", "cryptocom", "gateio", "kucoin", "upbit", "bitget",
    "mexc", "htx", "bitfinex", "bingx", "phemex", "lbank", "bitmart", "coinex", "ascendex", "deribit",
];

/// Price and quantity are exact. `orders` is 0 where the exchange tells no count; `exchange` is empty but in a fullbook.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Level {
    pub price: Decimal,
    pub quantity: Decimal,
    pub orders: u64,
    pub exchange: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    Buy,
    Sell,
}

/// One channel's book. Figures are `None` where a side they need is empty or too thin; they are floats, the levels
/// they come from exact.
#[derive(Debug)]
pub struct Book {
    pub channel: String,
    /// The client says so.
    pub connected: bool,
    /// Every page of the last snapshot has come.
    pub whole: bool,
    /// ms since the epoch: the box received the newest update in here.
    pub ts: i64,
    /// Of the last message; None without stamps.
    pub seq: Option<u64>,
    pub pub_ns: i64,
    /// Single exchanges with stamps: live, stale, resync, syncing, down.
    pub state: String,
    pub snapshots: u64,
    pub deltas: u64,
    /// Updates that were merged because we read too slowly.
    pub conflated: u64,
    updated: Option<Instant>,
    heard: Option<Instant>,
    bids: BTreeMap<(Reverse<Decimal>, String), Level>,
    asks: BTreeMap<(Decimal, String), Level>,
}

fn level(row: &Value) -> Option<Level> {
    Some(Level {
        price: Decimal::parse(row.get(0)?.as_str()?)?,
        quantity: Decimal::parse(row.get(1)?.as_str()?)?,
        orders: row.get(2)?.as_u64()?,
        exchange: row.get(3).and_then(Value::as_str).unwrap_or_default().to_owned(),
    })
}

fn levels(data: &Value, side: &str) -> Option<Vec<Level>> {
    data.get(side)?.as_array()?.iter().map(level).collect()
}

fn by_number(name: &str) -> usize {
    EXCHANGES.iter().position(|each| *each == name).unwrap_or(EXCHANGES.len())
}

impl Book {
    pub fn new(channel: &str) -> Self {
        Book {
            channel: channel.to_owned(),
            connected: false,
            whole: false,
            ts: 0,
            seq: None,
            pub_ns: 0,
            state: String::new(),
            snapshots: 0,
            deltas: 0,
            conflated: 0,
            updated: None,
            heard: None,
            bids: BTreeMap::new(),
            asks: BTreeMap::new(),
        }
    }

    /// Takes a `snapshot` or `delta` message with numbers as strings. None, and nothing changed: not such a message.
    pub fn apply(&mut self, message: &Value) -> Option<()> {
        let data = message.get("data")?;
        let (bids, asks) = (levels(data, "bids")?, levels(data, "asks")?);
        let snapshot = message.get("type")? == "snapshot";
        self.ts = data.get("ts")?.as_i64()?;
        if snapshot {
            self.bids.clear();
            self.asks.clear();
            self.snapshots += 1;
        } else {
            self.deltas += 1;
        }
        for level in bids {
            put(&mut self.bids, (Reverse(level.price), level.exchange.clone()), level);
        }
        for level in asks {
            put(&mut self.asks, (level.price, level.exchange.clone()), level);
        }
        if snapshot || !self.whole {
            // pages: a snapshot, then deltas, the last without `more`
            self.whole = message.get("more").and_then(Value::as_bool) != Some(true);
        }
        self.conflated += message.get("conflated").and_then(Value::as_u64).unwrap_or(0);
        self.seq = data.get("seq").and_then(Value::as_u64);
        self.pub_ns = data.get("pub_ns").and_then(Value::as_i64).unwrap_or(0);
        self.state = data.get("state").and_then(Value::as_str).unwrap_or_default().to_owned();
        self.updated = Some(Instant::now());
        self.heard = self.updated;
        Some(())
    }

    /// A heartbeat came: the channel is quiet, not dead.
    pub fn beat(&mut self) {
        self.heard = Some(Instant::now());
    }

    /// Connected, whole, both sides there.
    pub fn live(&self) -> bool {
        self.connected && self.whole && !self.bids.is_empty() && !self.asks.is_empty()
    }

    /// Live, and heard of within so long: fit to act on. Subscribe with a heartbeat for it.
    pub fn fresh(&self, within: Duration) -> bool {
        self.live() && self.heard.is_some_and(|heard| heard.elapsed() <= within)
    }

    /// Since its last message reached us; a quiet book may be old and right.
    pub fn age(&self) -> Option<Duration> {
        self.updated.map(|updated| updated.elapsed())
    }

    /// Best first. In a fullbook, equal prices: larger quantity first, then exchange number.
    pub fn bids(&self) -> Vec<&Level> {
        in_order(self.bids.values())
    }

    pub fn asks(&self) -> Vec<&Level> {
        in_order(self.asks.values())
    }

    pub fn best_bid(&self) -> Option<&Level> {
        best(self.bids.values())
    }

    pub fn best_ask(&self) -> Option<&Level> {
        best(self.asks.values())
    }

    pub fn mid(&self) -> Option<f64> {
        Some((self.best_bid()?.price.to_f64() + self.best_ask()?.price.to_f64()) / 2.0)
    }

    /// Negative where exchanges cross each other.
    pub fn spread(&self) -> Option<f64> {
        Some(self.best_ask()?.price.to_f64() - self.best_bid()?.price.to_f64())
    }

    /// Spread in basis points of the mid.
    pub fn spread_bps(&self) -> Option<f64> {
        Some(self.spread()? / self.mid()? * 10_000.0)
    }

    /// What `size` base units cost on average a unit, before fees; None when the subscribed depth is too thin.
    pub fn average_price(&self, action: Action, size: f64) -> Option<f64> {
        match action {
            Action::Buy => walk(self.asks.values(), size),
            Action::Sell => walk(self.bids.values(), size),
        }
    }
}

fn put<K: Ord>(side: &mut BTreeMap<K, Level>, key: K, level: Level) {
    if level.quantity.is_zero() {
        side.remove(&key);
    } else {
        side.insert(key, level);
    }
}

/// The map orders equal prices by name: what a fullbook orders them by can change with every quantity.
fn in_order<'a>(levels: impl Iterator<Item = &'a Level>) -> Vec<&'a Level> {
    let mut all: Vec<&Level> = levels.collect();
    for equal in all.chunk_by_mut(|a, b| a.price == b.price) {
        equal.sort_by_key(|level| (Reverse(level.quantity), by_number(&level.exchange)));
    }
    all
}

fn best<'a>(levels: impl Iterator<Item = &'a Level>) -> Option<&'a Level> {
    let mut levels = levels.peekable();
    let price = levels.peek()?.price;
    levels
        .take_while(|level| level.price == price)
        .min_by_key(|level| (Reverse(level.quantity), by_number(&level.exchange)))
}

fn walk<'a>(levels: impl Iterator<Item = &'a Level>, size: f64) -> Option<f64> {
    let (mut left, mut cost) = (size, 0.0);
    for level in levels {
        let taken = level.quantity.to_f64().min(left);
        cost += taken * level.price.to_f64();
        left -= taken;
        if left <= 0.0 {
            return Some(cost / size);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn message(kind: &str, bids: Value, asks: Value, more: bool) -> Value {
        let mut message = json!({"type": kind, "channel": "c", "data": {"bids": bids, "asks": asks, "ts": 1}});
        if more {
            message["more"] = json!(true);
        }
        message
    }

    #[test]
    fn fullbook_levels_have_price_and_exchange_as_key() {
        let mut book = Book::new("fullbook:A-B");
        let bids = json!([["10", "1", 0, "okx"], ["10", "1", 0, "binance"], ["9", "4", 1, "okx"]]);
        book.apply(&message("snapshot", bids, json!([["11", "2", 0, "okx"]]), false)).unwrap();
        let order = |book: &Book| book.bids().iter().map(|level| level.exchange.clone()).collect::<Vec<_>>();
        assert_eq!(order(&book), ["binance", "okx", "okx"]);
        book.apply(&message("delta", json!([["10", "2", 0, "okx"], ["9", "0", 0, "okx"]]), json!([]), false)).unwrap();
        assert_eq!(order(&book), ["okx", "binance"]);
        assert_eq!(book.best_bid().unwrap().exchange, "okx");
        assert_eq!((book.mid(), book.spread()), (Some(10.5), Some(1.0)));
        assert_eq!(book.average_price(Action::Sell, 3.0), Some(10.0));
        assert_eq!(book.average_price(Action::Buy, 3.0), None);
    }

    #[test]
    fn pages_make_one_snapshot() {
        let mut book = Book::new("c");
        book.connected = true;
        book.apply(&message("snapshot", json!([["3", "1", 0]]), json!([["4", "1", 0]]), true)).unwrap();
        assert!(!book.live());
        book.apply(&message("delta", json!([["2", "1", 0]]), json!([]), true)).unwrap();
        assert!(!book.live());
        book.apply(&message("delta", json!([["1", "1", 0]]), json!([]), false)).unwrap();
        assert!(book.live() && book.bids().len() == 3);
    }
}
