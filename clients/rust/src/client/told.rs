//! What a client is told, and what it tells.

use std::fmt;
use std::time::Duration;

use serde_json::Value;

/// How to connect. The n-th wait is random between 0 and min(`backoff_max`, `backoff` * 2^n). After `idle` without a
/// message the gateway is pinged, after twice that the connection counts as dead.
#[derive(Clone, Debug)]
pub struct Settings {
    pub token: Option<String>,
    pub backoff: Duration,
    pub backoff_max: Duration,
    pub idle: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            token: None,
            backoff: Duration::from_millis(250),
            backoff_max: Duration::from_secs(30),
            idle: Duration::from_secs(10),
        }
    }
}

/// Options of a subscription, as in docs/gateway.md.
#[derive(Clone, Debug)]
pub struct Subscription {
    pub depth: u32,
    /// Deltas; else whole snapshots.
    pub deltas: bool,
    /// None: the gateway's default of 100 ms; zero: every change.
    pub interval: Option<Duration>,
    /// None: none.
    pub heartbeat: Option<Duration>,
    /// conflate, resnapshot or disconnect
    pub slow: &'static str,
}

impl Default for Subscription {
    fn default() -> Self {
        Subscription {
            depth: 20,
            deltas: true,
            interval: None,
            heartbeat: Some(Duration::from_secs(1)),
            slow: "conflate",
        }
    }
}

/// What is asked of an `arb:` channel; what is left out is as the box is configured.
#[derive(Clone, Debug, Default)]
pub struct ArbTerms {
    /// Levels a side to walk through.
    pub depth: Option<u32>,
    pub interval: Option<Duration>,
    /// Least net yield, basis points.
    pub min_bp: Option<f64>,
    /// Most a trade may cost, in the quote asset.
    pub capital: Option<f64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Snapshot,
    Delta,
}

/// A request was answered with an error; codes are in docs/gateway.md.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    pub code: u64,
    pub message: String,
    pub channel: Option<String>,
    pub fatal: bool,
}

impl fmt::Display for Refused {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let channel = self.channel.as_deref().unwrap_or("no channel");
        write!(out, "{} (code {}, {channel})", self.message, self.code)
    }
}

impl std::error::Error for Refused {}

/// What happened. The book of a `Book` event holds the message already.
#[derive(Clone, Debug)]
pub enum Event {
    Book { channel: String, kind: Kind },
    /// Of an `arb:` channel: its rows are the message's already.
    Arb { channel: String },
    Connected { attempt: u64 },
    /// No book is live until there is another connection. `code`: of the WebSocket's close, 1006 where none was
    /// received, 0 where no connection came about.
    Disconnected { reason: String, code: u16, retry_in: Duration },
    /// The gateway is about to stop; the client reconnects by itself.
    Reconnect { reason: String, deadline_ms: u64 },
    Refused(Refused),
    Heartbeat { channel: String, ts: i64 },
    /// A message of the `status` channel.
    Status(Value),
    /// Anything else, as it came.
    Other(Value),
}

pub(super) fn refused(message: &Value) -> Refused {
    Refused {
        code: message["code"].as_u64().unwrap_or(0),
        message: message["msg"].as_str().unwrap_or_default().to_owned(),
        channel: message["channel"].as_str().map(str::to_owned),
        fatal: message["fatal"] == true,
    }
}
