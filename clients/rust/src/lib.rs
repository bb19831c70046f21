//! Order books of a Bookwire gateway, kept right for you: [`Client`] talks, [`Book`] holds. And [`shm`], for a
//! process on the box itself that wants no socket between.
//!
//! ```no_run
//! use bookwire_client::{Client, Event, Subscription};
//! use std::time::Duration;
//!
//! let mut client = Client::new("ws://127.0.0.1:8081/");
//! client.subscribe("consbook:BTC-USDT", Subscription { depth: 50, ..Default::default() })?;
//! loop {
//!     if let Some(Event::Book { channel, .. }) = client.next(Duration::from_secs(1)) {
//!         let book = client.book(&channel).unwrap();
//!         println!("{:?} {:?}", book.mid(), book.average_price(bookwire_client::Action::Buy, 2.0));
//!     }
//! }
//! # #[allow(unreachable_code)]
//! # Ok::<(), bookwire_client::Refused>(())
//! ```

mod arb;
mod book;
mod client;
mod decimal;
pub mod shm;

pub use arb::{Arb, Leg, Opportunity};
pub use book::{Action, Book, Level, EXCHANGES};
pub use client::{ArbTerms, Client, Event, Kind, Refused, Settings, Subscription};
pub use decimal::Decimal;
