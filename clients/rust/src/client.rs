//! One connection that is always wanted: made, watched, made again, its subscriptions with it.
//!
//! No thread and no runtime: everything happens inside [`Client::next`]. What is not read waits in the socket, then
//! the gateway merges it; nothing grows here behind a slow program.

mod dial;
mod told;

use std::collections::{BTreeMap, VecDeque};
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io::ErrorKind;
use std::time::{Duration, Instant};

use serde_json::{json, Value};
use tungstenite::{Error as WsError, Message, WebSocket};

use crate::{Arb, Book};
use dial::{dial, plain, Stream};
use told::refused;
pub use told::{ArbTerms, Event, Kind, Refused, Settings, Subscription};

const STEADY: Duration = Duration::from_secs(10); // a connection that held so long starts the backoff anew
const RETRIED: [u64; 2] = [5, 22]; // unknown symbol, no room: both pass, for instance while a box starts
const RETRY_AFTER: Duration = Duration::from_secs(1);

enum Kept {
    Book(Book),
    Arb(Arb),
    Nothing, // the status channel is told, not kept
}

impl Kept {
    fn connected(&mut self, now: bool) {
        let (connected, whole) = match self {
            Kept::Book(book) => (&mut book.connected, &mut book.whole),
            Kept::Arb(arb) => (&mut arb.connected, &mut arb.whole),
            Kept::Nothing => return,
        };
        *connected = now;
        *whole &= now;
    }

    fn named(&mut self, name: &str) {
        match self {
            Kept::Book(book) => book.channel = name.to_owned(),
            Kept::Arb(arb) => arb.channel = name.to_owned(),
            Kept::Nothing => {}
        }
    }
}

struct Held {
    request: Value,
    kept: Kept,
    retry_at: Option<Instant>,
}

enum Link {
    Down { again_at: Instant },
    Up { socket: Box<WebSocket<Stream>>, since: Instant, heard: Instant, pinged: bool },
}

pub struct Client {
    url: String,
    settings: Settings,
    link: Link,
    held: BTreeMap<String, Held>,
    again: BTreeMap<u64, String>, // id of a repeated subscribe -> its channel
    events: VecDeque<Event>,
    answers: BTreeMap<u64, Value>,
    ids: u64,
    attempts: u64,
    tries: u32,
}

impl Client {
    /// Connects with the first `next()`, `subscribe()` or `ask()`.
    pub fn new(url: &str) -> Self {
        Client::with(url, Settings::default())
    }

    pub fn with(url: &str, settings: Settings) -> Self {
        Client {
            url: url.to_owned(),
            settings,
            link: Link::Down { again_at: Instant::now() },
            held: BTreeMap::new(),
            again: BTreeMap::new(),
            events: VecDeque::new(),
            answers: BTreeMap::new(),
            ids: 0,
            attempts: 0,
            tries: 0,
        }
    }

    pub fn connected(&self) -> bool {
        matches!(self.link, Link::Up { .. })
    }

    /// By the name the gateway answers with, as `subscribe` returns it.
    pub fn book(&self, channel: &str) -> Option<&Book> {
        match &self.held.get(channel)?.kept {
            Kept::Book(book) => Some(book),
            _ => None,
        }
    }

    pub fn books(&self) -> impl Iterator<Item = &Book> {
        self.held.values().filter_map(|held| if let Kept::Book(book) = &held.kept { Some(book) } else { None })
    }

    /// By the name the gateway answers with, as `subscribe_arb` returns it.
    pub fn arb(&self, channel: &str) -> Option<&Arb> {
        match &self.held.get(channel)?.kept {
            Kept::Arb(arb) => Some(arb),
            _ => None,
        }
    }

    /// Asks for a channel and waits for the answer, however long there is no gateway; the channel's canonical name.
    pub fn subscribe(&mut self, channel: &str, options: Subscription) -> Result<String, Refused> {
        let mut request = json!({
            "op": "subscribe", "channel": channel, "depth": options.depth, "stamps": true, "numbers": "string",
            "mode": if options.deltas { "inc" } else { "snapshot" }, "slow": options.slow,
            "heartbeat": options.heartbeat.map_or(0.0, |every| every.as_secs_f64()),
        });
        if let Some(interval) = options.interval {
            request["interval"] = json!(interval.as_millis() as u64);
        }
        self.keep(request, Kept::Book(Book::new(channel)))
    }

    /// Exchanges and books going live, stale, resyncing or down: `Status` events from now on.
    pub fn subscribe_status(&mut self) -> Result<String, Refused> {
        self.keep(json!({"op": "subscribe", "channel": "status"}), Kept::Nothing)
    }

    /// What pays between two exchanges, both taker fees paid; the channel's name, for `arb()`.
    pub fn subscribe_arb(&mut self, symbol: &str, terms: ArbTerms) -> Result<String, Refused> {
        let channel = format!("arb:{symbol}");
        let mut request = json!({"op": "subscribe", "channel": channel, "heartbeat": 1});
        let asked = [
            ("depth", terms.depth.map(|levels| json!(levels))),
            ("interval", terms.interval.map(|every| json!(every.as_millis() as u64))),
            ("min_bp", terms.min_bp.map(|least| json!(least))),
            ("capital", terms.capital.map(|most| json!(most))),
        ];
        for (name, value) in asked.into_iter().filter_map(|(name, value)| Some((name, value?))) {
            request[name] = value;
        }
        self.keep(request, Kept::Arb(Arb::new(&channel)))
    }

    fn keep(&mut self, mut request: Value, kept: Kept) -> Result<String, Refused> {
        let asked = request.clone();
        let answer = self.ask_then(asked, |client, answer| {
            let name = answer["channel"].as_str().unwrap_or_default().to_owned();
            request["channel"] = json!(name);
            let mut held = Held { request: request.take(), kept, retry_at: None };
            held.kept.named(&name);
            held.kept.connected(true);
            client.held.insert(name, held);
        })?;
        Ok(answer["channel"].as_str().unwrap_or_default().to_owned())
    }

    pub fn unsubscribe(&mut self, channel: &str) -> Result<(), Refused> {
        let answer = self.ask(json!({"op": "unsubscribe", "channel": channel}))?;
        self.held.remove(answer["channel"].as_str().unwrap_or_default());
        Ok(())
    }

    /// Rows of id, name, quote, symbols (live books), status, depth (ceiling).
    pub fn exchanges(&mut self) -> Result<Vec<Value>, Refused> {
        let mut answer = self.ask(json!({"op": "exchanges"}))?;
        Ok(answer["data"].as_array_mut().map(std::mem::take).unwrap_or_default())
    }

    /// Symbol -> ids of the exchanges that carry it.
    pub fn symbols(&mut self) -> Result<BTreeMap<String, Vec<String>>, Refused> {
        let answer = self.ask(json!({"op": "symbols"}))?;
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let rows = answer["data"].as_array().map(Vec::as_slice).unwrap_or_default();
        Ok(rows
            .iter()
            .map(|row| {
                let ids = row["exchanges"].as_array().map(Vec::as_slice).unwrap_or_default();
                (text(&row["symbol"]), ids.iter().map(text).collect())
            })
            .collect())
    }

    /// Any request of docs/gateway.md; waits for its answer. What comes meanwhile is told by `next()` later.
    pub fn ask(&mut self, request: Value) -> Result<Value, Refused> {
        self.ask_then(request, |_, _| ())
    }

    fn ask_then(&mut self, request: Value, taken: impl FnOnce(&mut Self, &Value)) -> Result<Value, Refused> {
        loop {
            while !self.connected() {
                self.turn(Instant::now() + Duration::from_secs(1));
            }
            let (id, attempt) = (self.send(request.clone()), self.attempts);
            while self.connected() && self.attempts == attempt {
                if let Some(answer) = self.answers.remove(&id) {
                    if answer["type"] == "error" {
                        return Err(refused(&answer));
                    }
                    taken(self, &answer);
                    return Ok(answer);
                }
                self.turn(Instant::now() + Duration::from_secs(1));
            }
        }
    }

    /// The next event, or None after `patience`. Call it again and again: nothing moves otherwise.
    pub fn next(&mut self, patience: Duration) -> Option<Event> {
        let until = Instant::now() + patience;
        loop {
            if let Some(event) = self.events.pop_front() {
                return Some(event);
            }
            if Instant::now() >= until {
                return None;
            }
            self.turn(until);
        }
    }

    /// Connects, or reads one message; waits until `until` at most.
    fn turn(&mut self, until: Instant) {
        match self.link {
            Link::Down { again_at } if again_at > until => std::thread::sleep(until - Instant::now().min(until)),
            Link::Down { again_at } => {
                std::thread::sleep(again_at.saturating_duration_since(Instant::now()));
                self.connect();
            }
            Link::Up { .. } => self.read(until),
        }
    }

    fn connect(&mut self) {
        self.attempts += 1;
        match dial(&self.url, self.settings.idle * 2) {
            Ok(socket) => {
                let now = Instant::now();
                self.link = Link::Up { socket: Box::new(socket), since: now, heard: now, pinged: false };
                self.events.push_back(Event::Connected { attempt: self.attempts });
                if let Some(token) = self.settings.token.clone() {
                    self.send(json!({"op": "auth", "token": token}));
                }
                for name in self.held.keys().cloned().collect::<Vec<_>>() {
                    self.subscribe_again(name);
                }
            }
            Err(reason) => self.lost(reason, 0),
        }
    }

    fn subscribe_again(&mut self, name: String) {
        let Some(held) = self.held.get_mut(&name) else { return };
        held.retry_at = None;
        let request = held.request.clone();
        let id = self.send(request);
        self.again.insert(id, name);
    }

    /// Sends with a new id, which it returns. A failure shows as a lost connection.
    fn send(&mut self, mut request: Value) -> u64 {
        self.ids += 1;
        request["id"] = json!(self.ids);
        if let Link::Up { socket, .. } = &mut self.link {
            if let Err(error) = socket.send(Message::text(request.to_string())) {
                self.lost(error.to_string(), 1006);
            }
        }
        self.ids
    }

    fn lost(&mut self, reason: String, code: u16) {
        let steady = matches!(self.link, Link::Up { since, .. } if since.elapsed() > STEADY);
        self.tries = if steady { 0 } else { self.tries + 1 };
        let most = self.settings.backoff * 2u32.saturating_pow(self.tries.min(16));
        let retry_in = most.min(self.settings.backoff_max).mul_f64(random());
        self.link = Link::Down { again_at: Instant::now() + retry_in };
        self.again.clear();
        self.answers.clear();
        for held in self.held.values_mut() {
            held.kept.connected(false);
        }
        self.events.push_back(Event::Disconnected { reason, code, retry_in });
    }

    fn read(&mut self, until: Instant) {
        self.retry_refused();
        let idle = self.settings.idle;
        let Link::Up { socket, heard, pinged, .. } = &mut self.link else { return };
        let (heard_at, was_pinged) = (*heard, *pinged);
        let silent_at = heard_at + if was_pinged { idle * 2 } else { idle };
        let wait = until.min(silent_at).saturating_duration_since(Instant::now()).max(Duration::from_millis(1));
        if let Err(error) = plain(socket.get_ref()).set_read_timeout(Some(wait)) {
            return self.lost(error.to_string(), 1006);
        }
        match socket.read() {
            Ok(message) => {
                (*heard, *pinged) = (Instant::now(), false);
                match message {
                    Message::Text(text) => match serde_json::from_str(&text) {
                        Ok(message) => self.take(message),
                        Err(error) => self.lost(format!("unreadable message: {error}"), 1006),
                    },
                    Message::Close(frame) => {
                        let (code, reason) =
                            frame.map_or((1006, String::new()), |each| (each.code.into(), each.reason.to_string()));
                        self.lost(if reason.is_empty() { format!("closed with {code}") } else { reason }, code);
                    }
                    _ => {}
                }
            }
            Err(WsError::Io(error)) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                if Instant::now() < silent_at {
                    return;
                }
                if was_pinged {
                    return self.lost(format!("nothing came for {:?}", idle * 2), 1006);
                }
                *pinged = true;
                self.send(json!({"op": "ping"}));
            }
            Err(WsError::Io(error)) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => self.lost(error.to_string(), 1006),
        }
    }

    fn retry_refused(&mut self) {
        let now = Instant::now();
        let due = |held: &Held| held.retry_at.is_some_and(|at| at <= now);
        let names: Vec<String> =
            self.held.iter().filter(|(_, held)| due(held)).map(|(name, _)| name.clone()).collect();
        for name in names {
            self.subscribe_again(name);
        }
    }

    fn take(&mut self, message: Value) {
        let text = |key: &str| message[key].as_str().unwrap_or_default().to_owned();
        let channel = text("channel");
        match text("type").as_str() {
            kind @ ("snapshot" | "delta") => {
                let kind = if kind == "snapshot" { Kind::Snapshot } else { Kind::Delta };
                let told = match self.held.get_mut(&channel).map(|held| &mut held.kept) {
                    Some(Kept::Book(book)) => book.apply(&message).map(|()| Event::Book { channel: channel.clone(), kind }),
                    Some(Kept::Arb(arb)) => arb.apply(&message).map(|()| Event::Arb { channel: channel.clone() }),
                    _ if channel == "status" => Some(Event::Status(message)),
                    _ => Some(Event::Other(message)),
                };
                match told {
                    Some(event) => self.events.push_back(event),
                    None => self.lost(format!("unreadable message of {channel}"), 1006),
                }
            }
            "status" => self.events.push_back(Event::Status(message)),
            "heartbeat" => {
                match self.held.get_mut(&channel).map(|held| &mut held.kept) {
                    Some(Kept::Book(book)) => book.beat(),
                    Some(Kept::Arb(arb)) => arb.beat(),
                    _ => {}
                }
                let ts = message["ts"].as_i64().unwrap_or(0);
                self.events.push_back(Event::Heartbeat { channel, ts });
            }
            "reconnect" => {
                let deadline_ms = message["deadline_ms"].as_u64().unwrap_or(0);
                self.events.push_back(Event::Reconnect { reason: text("reason"), deadline_ms });
            }
            _ => self.answered(message),
        }
    }

    fn answered(&mut self, message: Value) {
        let error = message["type"] == "error";
        let Some(id) = message["id"].as_u64() else {
            return self.events.push_back(if error { Event::Refused(refused(&message)) } else { Event::Other(message) });
        };
        let Some(name) = self.again.remove(&id) else {
            if message["type"] != "pong" && message["type"] != "authorised" {
                self.answers.insert(id, message);
            }
            return;
        };
        if let Some(held) = self.held.get_mut(&name) {
            held.kept.connected(!error);
            if error && RETRIED.contains(&message["code"].as_u64().unwrap_or(0)) {
                held.retry_at = Some(Instant::now() + RETRY_AFTER.mul_f64(0.5 + random()));
            }
        }
        if error {
            self.events.push_back(Event::Refused(refused(&message)));
        }
    }
}

/// Between 0 and 1: the standard library seeds its hashers at random.
fn random() -> f64 {
    (RandomState::new().build_hasher().finish() >> 11) as f64 / (1u64 << 53) as f64
}
