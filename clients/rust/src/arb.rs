//! What pays between two exchanges now: the newest rows of an `arb:` channel. No I/O: [`crate::Client`] feeds it.

use std::time::{Duration, Instant};

use serde_json::Value;

/// Where one side is traded. `price`: of the best level; `vwap`: of what is taken of the depth.
#[derive(Clone, Debug, PartialEq)]
pub struct Leg {
    pub exchange: String,
    pub price: f64,
    pub vwap: f64,
    pub age: Duration,
}

/// Bought at one exchange, sold at the other, both taker fees paid. Money in the quote asset. `age`: of the older
/// quote, as the box sent it; [`Arb::rows`] tells it as of now.
#[derive(Clone, Debug, PartialEq)]
pub struct Opportunity {
    pub symbol: String,
    pub buy: Leg,
    pub sell: Leg,
    pub size: f64,
    pub notional: f64,
    pub profit: f64,
    pub net_bp: f64,
    pub age: Duration,
    pub confidence: f64,
}

fn text(row: &Value, key: &str) -> Option<String> {
    row.get(key)?.as_str().map(str::to_owned)
}

fn number(row: &Value, key: &str) -> Option<f64> {
    row.get(key)?.as_f64()
}

fn age(row: &Value) -> Option<Duration> {
    row.get("age_ms")?.as_u64().map(Duration::from_millis)
}

fn leg(row: &Value) -> Option<Leg> {
    Some(Leg { exchange: text(row, "exchange")?, price: number(row, "price")?, vwap: number(row, "vwap")?, age: age(row)? })
}

fn opportunity(row: &Value) -> Option<Opportunity> {
    Some(Opportunity {
        symbol: text(row, "symbol")?,
        buy: leg(row.get("buy")?)?,
        sell: leg(row.get("sell")?)?,
        size: number(row, "size")?,
        notional: number(row, "notional")?,
        profit: number(row, "profit")?,
        net_bp: number(row, "net_bp")?,
        age: age(row)?,
        confidence: number(row, "confidence")?,
    })
}

/// One `arb:` channel. Books that are not LIVE are in no row: the box leaves them out.
#[derive(Debug)]
pub struct Arb {
    pub channel: String,
    /// The client says so.
    pub connected: bool,
    /// Rows have come since it is connected.
    pub whole: bool,
    /// ms since the epoch: when the box made them.
    pub ts: i64,
    /// Rows beyond those the box sends.
    pub left_out: u64,
    pub snapshots: u64,
    updated: Option<Instant>,
    heard: Option<Instant>,
    rows: Vec<Opportunity>,
}

impl Arb {
    pub fn new(channel: &str) -> Self {
        Arb {
            channel: channel.to_owned(),
            connected: false,
            whole: false,
            ts: 0,
            left_out: 0,
            snapshots: 0,
            updated: None,
            heard: None,
            rows: Vec::new(),
        }
    }

    /// Takes a `snapshot` of the channel: whole rows each time. None, and nothing changed: not such a message.
    pub fn apply(&mut self, message: &Value) -> Option<()> {
        let rows = message.get("data")?.as_array()?.iter().map(opportunity).collect::<Option<Vec<_>>>()?;
        self.ts = message.get("ts")?.as_i64()?;
        self.rows = rows;
        self.whole = true;
        self.left_out = message.get("left_out").and_then(Value::as_u64).unwrap_or(0);
        self.snapshots += 1;
        self.updated = Some(Instant::now());
        self.heard = self.updated;
        Some(())
    }

    /// A heartbeat came: the channel is quiet, not dead.
    pub fn beat(&mut self) {
        self.heard = Some(Instant::now());
    }

    /// Connected, and heard of within so long; the client asks for a heartbeat each second.
    pub fn fresh(&self, within: Duration) -> bool {
        self.connected && self.whole && self.heard.is_some_and(|at| at.elapsed() <= within)
    }

    /// Most profit first, ages as of now. Left out: rows with a quote older than `max_age`, and all of them while the
    /// channel is not `fresh(max_age)`.
    pub fn rows(&self, max_age: Duration) -> Vec<Opportunity> {
        let Some(updated) = self.updated.filter(|_| self.fresh(max_age)) else { return Vec::new() };
        let since = updated.elapsed();
        let aged = |row: &Opportunity| Opportunity { age: row.age + since, ..row.clone() };
        self.rows.iter().map(aged).filter(|row| row.age <= max_age).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn message(age_ms: u64) -> Value {
        let leg = |exchange: &str| json!({"exchange": exchange, "price": 1.0, "vwap": 1.5, "age_ms": age_ms});
        json!({"type": "snapshot", "channel": "arb:A-B", "ts": 7, "data": [{
            "symbol": "A-B", "buy": leg("okx"), "sell": leg("bybit"), "size": 2.0, "notional": 3.0, "profit": 4.0,
            "net_bp": 5.0, "age_ms": age_ms, "confidence": 0.5}]})
    }

    #[test]
    fn rows_that_are_old_or_of_a_lost_connection_are_not_told() {
        let mut arb = Arb::new("arb:A-B");
        assert_eq!(arb.apply(&message(100)), Some(()));
        assert!(arb.rows(Duration::from_secs(60)).is_empty(), "not connected");
        arb.connected = true;
        let rows = arb.rows(Duration::from_secs(60));
        assert_eq!((rows.len(), rows[0].buy.exchange.as_str(), rows[0].profit), (1, "okx", 4.0));
        assert!(rows[0].age >= Duration::from_millis(100));
        arb.apply(&message(61_000));
        assert!(arb.rows(Duration::from_secs(60)).is_empty(), "older than that");
        assert!(arb.fresh(Duration::from_secs(60)));
    }

    #[test]
    fn what_is_no_such_message_changes_nothing() {
        let mut arb = Arb::new("arb:A-B");
        arb.connected = true;
        arb.apply(&message(0));
        assert_eq!(arb.apply(&json!({"type": "snapshot", "ts": 8, "data": [{"symbol": "A-B"}]})), None);
        assert_eq!((arb.rows(Duration::from_secs(60)).len(), arb.ts), (1, 7));
    }
}
