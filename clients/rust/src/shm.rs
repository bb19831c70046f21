//! Books of an exchange's shared memory, by docs/shared-memory.md: no socket, no system call per read.
//!
//! A copy is the book at exactly one sequence. Everything in the mapping is loaded atomically, bounded before use, and
//! believed only when the book's sequence lock says that it stood still meanwhile. Every wait ends after 20 ms.
//!
//! ```no_run
//! let segment = bookwire_client::shm::Segment::open("/dev/shm/bookwire/binance.shm")?;
//! let index = segment.index("BTC-USDT").expect("carried");
//! let book = segment.book(index, 10)?;
//! println!("{} {:?}", book.sequence, book.decimals(&book.bids).next());
//! for record in segment.records(book.ring_position) {
//!     println!("{} {:?}", record?.sequence, segment.alive());
//! }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod books;
mod ring;
mod segment;

use std::fmt;

pub use ring::Ring;
pub use segment::Segment;

use crate::Decimal;

#[cfg(target_endian = "big")]
compile_error!("the layout is little-endian");

pub const LIVE: u32 = 1;

/// Why a book or the ring could not be read now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadError {
    /// The writer died inside a write: the next one makes a new segment.
    WriterGone,
    /// No untorn copy within 20 ms: try later.
    Busy,
    /// The writer was a whole ring ahead: updates were lost. Copy the books anew.
    Overrun,
    NoBook,
}

impl fmt::Display for ReadError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            ReadError::WriterGone => "the writer died inside a write",
            ReadError::Busy => "no untorn copy within the time allowed",
            ReadError::Overrun => "the writer was a whole ring ahead",
            ReadError::NoBook => "no such book",
        })
    }
}

impl std::error::Error for ReadError {}

/// Mantissas: value = mantissa / 10^exponent of the book or record. Quantity 0 in a record: the level left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Level {
    pub price: i64,
    pub quantity: i64,
    pub orders: u32,
}

/// A book at exactly one sequence, levels best first. Times are ns since the epoch.
#[derive(Clone, Debug)]
pub struct Book {
    pub sequence: u64,
    pub venue_sequence: u64,
    pub epoch: u32,
    /// 0 SYNCING, 1 LIVE, 2 STALE, 3 RESYNC, 4 DOWN; only LIVE, of a living writer, is known to be right.
    pub state: u32,
    pub reason: u32,
    pub price_exponent: u8,
    pub quantity_exponent: u8,
    pub exchange_ns: i64,
    pub receive_ns: i64,
    pub published_ns: i64,
    pub bids: Vec<Level>,
    pub asks: Vec<Level>,
    /// Where `records()` goes on from here; skip records of this book whose sequence is not above the book's.
    pub ring_position: u64,
}

impl Book {
    /// (price, quantity) of the levels, exact.
    pub fn decimals<'a>(&'a self, levels: &'a [Level]) -> impl Iterator<Item = (Decimal, Decimal)> + 'a {
        levels.iter().map(|level| {
            let price = Decimal::new(level.price.into(), self.price_exponent);
            (price, Decimal::new(level.quantity.into(), self.quantity_exponent))
        })
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecordType {
    /// Changes follow.
    Delta,
    /// Copy the book anew.
    Reset,
    /// No level changed.
    State,
}

#[derive(Clone, Debug)]
pub struct Record {
    pub kind: RecordType,
    pub book: u32,
    pub epoch: u32,
    pub sequence: u64,
    pub state: u32,
    pub reason: u32,
    pub price_exponent: u8,
    pub quantity_exponent: u8,
    pub exchange_ns: i64,
    pub receive_ns: i64,
    pub published_ns: i64,
    pub bids: Vec<Level>,
    pub asks: Vec<Level>,
}

/// A copy out of the mapping, read by offsets of the documentation.
struct Copy<'a>(&'a [u64]);

impl Copy<'_> {
    fn u64(&self, offset: usize) -> u64 {
        self.0[offset / 8]
    }
    fn i64(&self, offset: usize) -> i64 {
        self.u64(offset) as i64
    }
    fn u32(&self, offset: usize) -> u32 {
        (self.u64(offset) >> (offset % 8 * 8)) as u32
    }
    fn u8(&self, offset: usize) -> u8 {
        (self.u64(offset) >> (offset % 8 * 8)) as u8
    }
    fn level(&self, offset: usize) -> Level {
        Level { price: self.i64(offset), quantity: self.i64(offset + 8), orders: self.u32(offset + 16) }
    }
}
