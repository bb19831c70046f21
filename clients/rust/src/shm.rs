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

use std::collections::BTreeMap;
use std::fmt;
use std::fs::{self, File};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{fence, AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::Decimal;

#[cfg(target_endian = "big")]
compile_error!("the layout is little-endian");

const LAYOUT_VERSION: u32 = 1;
const HEADER_BYTES: u64 = 4096;
const SYMBOL_BYTES: u64 = 128;
const BOOK_BYTES: u64 = 512;
const BOOK_WORDS: usize = 64;
const CHUNK_BYTES: u64 = 640;
const CHUNK_LEVELS: u64 = 32;
const RECORD_BYTES: u64 = 80;
const LEVEL_BYTES: u64 = 24;
const RING_HEAD: u64 = 192;
const RING_RESERVED: u64 = 200;
const SIDE: usize = 320; // of bw_book.side, 32 bytes each
const PIECE: usize = 256; // levels copied under one look at the lock, halved where the writer is busy
const PIECE_MIN: usize = 8;
const TRIES: u32 = 8;
const PATIENCE: Duration = Duration::from_millis(20);
const ASK_AFTER: Duration = Duration::from_millis(1); // a wait so long asks whether the writer still lives
const LOOP_PATIENCE_NS: u64 = 2_000_000_000; // a loop that has not turned for so long is as good as dead

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

struct Patience {
    since: Option<Instant>,
    asked: bool,
}

type Levels = BTreeMap<i64, Level>; // by key: the price of bids, minus that of asks; the best is the last

fn key_of(side: usize, price: i64) -> i64 {
    if side == 0 {
        price
    } else {
        price.wrapping_neg()
    }
}

/// One exchange's segment, mapped read-only.
pub struct Segment {
    path: PathBuf,
    file: File,
    base: *const u8,
    bytes: u64,
    identity: (u64, u64),
    book_capacity: u64,
    chunk_capacity: u64,
    symbol_offset: u64,
    book_offset: u64,
    chunk_offset: u64,
    ring_offset: u64,
    ring_bytes: u64,
}

// SAFETY: the mapping is read-only, lives as long as the Segment, and is only read by atomic loads.
unsafe impl Send for Segment {}
unsafe impl Sync for Segment {}

impl Drop for Segment {
    fn drop(&mut self) {
        // SAFETY: what open() mapped, once.
        unsafe { libc::munmap(self.base as *mut libc::c_void, self.bytes as usize) };
    }
}

impl Segment {
    /// Fails where there is no sound segment, or one of another layout version.
    pub fn open(path: impl AsRef<Path>) -> io::Result<Segment> {
        let path = path.as_ref();
        let file = File::open(path)?;
        let told = file.metadata()?;
        let wrong = |what: &str| io::Error::new(io::ErrorKind::InvalidData, format!("{}: {what}", path.display()));
        if told.len() < HEADER_BYTES {
            return Err(wrong("too short to be a segment"));
        }
        // SAFETY: a fresh shared mapping of a file we hold open; the file keeps its size (posix_fallocate, rename).
        let base = unsafe {
            let (length, descriptor) = (told.len() as usize, file.as_raw_fd());
            libc::mmap(std::ptr::null_mut(), length, libc::PROT_READ, libc::MAP_SHARED, descriptor, 0)
        };
        if base == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let mut segment = Segment {
            path: path.to_owned(),
            file,
            base: base.cast(),
            bytes: told.len(),
            identity: (told.dev(), told.ino()),
            book_capacity: 0,
            chunk_capacity: 0,
            symbol_offset: 0,
            book_offset: 0,
            chunk_offset: 0,
            ring_offset: 0,
            ring_bytes: 0,
        };
        segment.take_layout().map_err(wrong)?;
        Ok(segment)
    }

    /// Checks the header once and keeps its numbers: the mapping may change, these do not.
    fn take_layout(&mut self) -> Result<(), &'static str> {
        let mut words = [0; 32];
        self.copy(0, &mut words);
        let header = Copy(&words);
        if header.u64(0).to_le_bytes() != *b"BOOKWIRE" {
            return Err("not a Bookwire segment");
        }
        if header.u32(8) != LAYOUT_VERSION {
            return Err("made by another version of Bookwire");
        }
        let whole = u64::from(header.u32(12)) == HEADER_BYTES && u64::from(header.u32(64)) == CHUNK_LEVELS;
        if !whole || header.u64(16) != self.bytes {
            return Err("damaged: unknown layout, or not as long as it says");
        }
        (self.book_capacity, self.chunk_capacity) = (header.u32(56).into(), header.u32(60).into());
        (self.symbol_offset, self.book_offset) = (header.u64(72), header.u64(80));
        (self.chunk_offset, self.ring_offset) = (header.u64(96), header.u64(104));
        self.ring_bytes = header.u64(112);
        let fits = |offset: u64, count: u64, size: u64| {
            offset % 64 == 0 && offset <= self.bytes && count <= (self.bytes - offset) / size
        };
        let inside = fits(self.symbol_offset, self.book_capacity, SYMBOL_BYTES)
            && fits(self.book_offset, self.book_capacity, BOOK_BYTES)
            && fits(self.chunk_offset, self.chunk_capacity, CHUNK_BYTES)
            && fits(self.ring_offset, self.ring_bytes, 1)
            && self.ring_bytes.is_power_of_two();
        inside.then_some(()).ok_or("damaged: parts lie outside of it")
    }

    fn word(&self, offset: u64) -> &AtomicU64 {
        assert!(offset % 8 == 0 && offset < self.bytes && self.bytes - offset >= 8, "{offset} is outside");
        // SAFETY: aligned and inside the mapping, which lives as long as self.
        unsafe { &*self.base.add(offset as usize).cast::<AtomicU64>() }
    }

    fn copy(&self, offset: u64, words: &mut [u64]) {
        for (place, word) in words.iter_mut().enumerate() {
            *word = self.word(offset + place as u64 * 8).load(Ordering::Relaxed);
        }
    }

    fn u32(&self, offset: u64) -> u32 {
        (self.word(offset & !7).load(Ordering::Acquire) >> (offset % 8 * 8)) as u32
    }

    /// Names the writer: another value is another writer.
    pub fn generation(&self) -> u64 {
        self.word(24).load(Ordering::Relaxed)
    }

    /// Canonical names by book index. Books are only ever added.
    pub fn symbols(&self) -> Vec<String> {
        let count = u64::from(self.u32(140)).min(self.book_capacity);
        let name = |index: u64| {
            let mut words = [0; 4];
            self.copy(self.symbol_offset + index * SYMBOL_BYTES, &mut words);
            let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).take_while(|byte| *byte > 0).collect();
            String::from_utf8_lossy(&bytes).into_owned()
        };
        (0..count).map(name).collect()
    }

    pub fn index(&self, symbol: &str) -> Option<u32> {
        self.symbols().iter().position(|name| name == symbol).map(|index| index as u32)
    }

    /// True when the path now names another segment: open that.
    pub fn replaced(&self) -> bool {
        fs::metadata(&self.path).is_ok_and(|told| (told.dev(), told.ino()) != self.identity)
    }

    /// False when the writer closed the segment, its process is gone, or its loop stands still.
    pub fn alive(&self) -> bool {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos() as u64;
        let beat = self.word(128).load(Ordering::Relaxed);
        self.u32(136) == 1 && now.saturating_sub(beat) <= LOOP_PATIENCE_NS && !self.writer_gone()
    }

    /// The writer holds a lock on the file for as long as it lives, however it ends.
    fn writer_gone(&self) -> bool {
        // SAFETY: flock is plain data; zero is a lock of the whole file for nobody.
        let mut lock: libc::flock = unsafe { std::mem::zeroed() };
        (lock.l_type, lock.l_whence) = (libc::F_RDLCK as libc::c_short, libc::SEEK_SET as libc::c_short);
        // SAFETY: an open descriptor and a lock that outlives the call.
        let done = unsafe { libc::fcntl(self.file.as_raw_fd(), libc::F_OFD_GETLK, &mut lock) };
        done == 0 && lock.l_type == libc::F_UNLCK as libc::c_short
    }

    fn wait(&self, patience: &mut Patience) -> Result<(), ReadError> {
        std::hint::spin_loop();
        let waited = patience.since.get_or_insert_with(Instant::now).elapsed();
        if waited > ASK_AFTER && !patience.asked {
            patience.asked = true;
            if self.writer_gone() {
                return Err(ReadError::WriterGone);
            }
        }
        if waited > PATIENCE {
            return Err(ReadError::Busy);
        }
        std::thread::yield_now();
        Ok(())
    }

    /// Runs `read` under the sequence lock of the book at `offset`: None when the writer was inside.
    fn locked<T>(&self, offset: u64, read: impl FnOnce() -> T) -> Option<T> {
        let version = self.word(offset).load(Ordering::Acquire);
        if version % 2 == 1 {
            return None;
        }
        let found = read();
        fence(Ordering::Acquire);
        (self.word(offset).load(Ordering::Relaxed) == version).then_some(found)
    }

    fn header(&self, offset: u64, patience: &mut Patience) -> Result<[u64; BOOK_WORDS], ReadError> {
        loop {
            let mut words = [0; BOOK_WORDS];
            if self.locked(offset, || self.copy(offset, &mut words)).is_some() {
                return Ok(words);
            }
            self.wait(patience)?;
        }
    }

    fn book_at(&self, index: u32) -> Result<u64, ReadError> {
        if u64::from(index) >= u64::from(self.u32(140)).min(self.book_capacity) {
            return Err(ReadError::NoBook);
        }
        Ok(self.book_offset + u64::from(index) * BOOK_BYTES)
    }

    /// State, stamps and the best 4 levels a side, at one sequence.
    pub fn top(&self, index: u32) -> Result<Book, ReadError> {
        let words = self.header(self.book_at(index)?, &mut Patience { since: None, asked: false })?;
        let header = Copy(&words);
        let best = |side: usize| {
            let count = header.u32(40 + side * 4).min(4) as usize;
            (0..count).map(|place| header.level(128 + side * 96 + place * 24)).collect()
        };
        Ok(book_of(&header, best(0), best(1), self.word(RING_HEAD).load(Ordering::Acquire)))
    }

    /// The whole book, or its best `depth` levels (0: all), at one sequence.
    pub fn book(&self, index: u32, depth: usize) -> Result<Book, ReadError> {
        let offset = self.book_at(index)?;
        let mut patience = Patience { since: None, asked: false };
        for _ in 0..TRIES {
            match self.copy_book(index, offset, depth, &mut patience) {
                Err(ReadError::Overrun) => {}
                done => return done,
            }
        }
        Err(ReadError::Busy)
    }

    /// One try, as "A whole book" of the documentation says. Overrun: start over.
    fn copy_book(&self, index: u32, offset: u64, depth: usize, patience: &mut Patience) -> Result<Book, ReadError> {
        let mut position = self.word(RING_HEAD).load(Ordering::Acquire);
        let before = self.header(offset, patience)?;
        let mut sides = [self.walk(offset, 0, patience)?, self.walk(offset, 1, patience)?];
        let after = self.header(offset, patience)?;
        let (before, header) = (Copy(&before), Copy(&after));
        if header.u32(24) != before.u32(24) {
            return Err(ReadError::Overrun); // replaced meanwhile
        }
        if header.u64(8) != before.u64(8) {
            position = self.replay(index, (before.u64(8), header.u64(8)), position, &mut sides, patience)?;
        }
        for (side, levels) in sides.iter().enumerate() {
            if levels.len() as u64 != u64::from(header.u32(SIDE + side * 32 + 16)) {
                return Err(ReadError::Overrun);
            }
        }
        let most = if depth == 0 { usize::MAX } else { depth };
        let [bids, asks] = sides.map(|levels| levels.into_values().rev().take(most).collect());
        Ok(book_of(&header, bids, asks, position))
    }

    /// Every level that stands throughout, and some that come or go meanwhile, from best to worst.
    fn walk(&self, offset: u64, side: usize, patience: &mut Patience) -> Result<Levels, ReadError> {
        let (mut levels, mut bound, mut piece) = (Levels::new(), i64::MAX, PIECE);
        loop {
            let Some(found) = self.locked(offset, || self.below(offset, side, bound, piece)) else {
                piece = (piece / 2).max(PIECE_MIN);
                self.wait(patience)?;
                continue;
            };
            let Some(last) = found.last().filter(|(key, _)| *key < bound) else { return Ok(levels) };
            bound = last.0;
            let done = found.len() < piece;
            levels.extend(found);
            if done {
                return Ok(levels);
            }
            piece = (piece * 2).min(PIECE);
        }
    }

    /// Up to `room` levels whose key is below `bound`, best first. Numbers are bounded here; the lock tells the caller
    /// whether they were right.
    fn below(&self, offset: u64, side: usize, bound: i64, room: usize) -> Vec<(i64, Level)> {
        let side_offset = offset + (SIDE + side * 32) as u64;
        let directory = self.word(side_offset).load(Ordering::Relaxed);
        let entries = u64::from(self.u32(side_offset + 12));
        let mut found = Vec::with_capacity(room);
        if directory % 8 != 0 || directory > self.bytes || entries > (self.bytes - directory) / 16 {
            return found;
        }
        let low_key = |entry: u64| self.word(directory + entry * 16).load(Ordering::Relaxed) as i64;
        let (mut first, mut last) = (0, entries); // the entries whose lowest key is below the bound come first
        while first < last {
            let middle = (first + last) / 2;
            if low_key(middle) < bound {
                first = middle + 1;
            } else {
                last = middle;
            }
        }
        for entry in (0..first).rev() {
            let at = self.word(directory + entry * 16 + 8).load(Ordering::Relaxed);
            let (chunk, count) = (at & 0xffff_ffff, at >> 32);
            if chunk >= self.chunk_capacity || count > CHUNK_LEVELS {
                return found;
            }
            let start = self.chunk_offset + chunk * CHUNK_BYTES;
            for place in (0..count).rev() {
                let key = self.word(start + place * 8).load(Ordering::Relaxed) as i64;
                if key >= bound {
                    continue;
                }
                if found.len() == room {
                    return found;
                }
                let quantity = self.word(start + 256 + place * 8).load(Ordering::Relaxed) as i64;
                let orders = self.u32(start + 512 + place * 4);
                found.push((key, Level { price: key_of(side, key), quantity, orders }));
            }
        }
        found
    }

    /// Applies the book's records of sequences after `span.0` up to `span.1`. Overrun: start over.
    fn replay(
        &self,
        index: u32,
        span: (u64, u64),
        position: u64,
        sides: &mut [Levels; 2],
        patience: &mut Patience,
    ) -> Result<u64, ReadError> {
        let mut ring = self.records(position);
        loop {
            let Some(record) = ring.next().transpose()? else {
                self.wait(patience)?; // the book is ahead of the ring for a moment
                continue;
            };
            if record.book != index || record.sequence <= span.0 {
                continue;
            }
            if record.sequence > span.1 || record.kind == RecordType::Reset {
                return Err(ReadError::Overrun);
            }
            for (side, changes) in [&record.bids, &record.asks].into_iter().enumerate() {
                for level in changes {
                    let key = key_of(side, level.price);
                    if level.quantity == 0 {
                        sides[side].remove(&key);
                    } else {
                        sides[side].insert(key, *level);
                    }
                }
            }
            if record.sequence == span.1 {
                return Ok(ring.position);
            }
        }
    }

    /// The ring from `position` on: yields what has come and then None; iterate again later. After an Overrun it
    /// goes on at the head.
    pub fn records(&self, position: u64) -> Ring<'_> {
        Ring { segment: self, position }
    }

    /// The ring from now on.
    pub fn records_from_now(&self) -> Ring<'_> {
        self.records(self.word(RING_HEAD).load(Ordering::Acquire))
    }

    /// Has the writer claimed the place again that was just read?
    fn lapped(&self, position: u64) -> bool {
        fence(Ordering::Acquire);
        self.word(RING_RESERVED).load(Ordering::Relaxed).wrapping_sub(position) > self.ring_bytes
    }
}

fn book_of(header: &Copy, bids: Vec<Level>, asks: Vec<Level>, ring_position: u64) -> Book {
    Book {
        sequence: header.u64(8),
        venue_sequence: header.u64(16),
        epoch: header.u32(24),
        state: header.u32(28),
        reason: header.u32(32),
        price_exponent: header.u8(36),
        quantity_exponent: header.u8(37),
        exchange_ns: header.i64(64),
        receive_ns: header.i64(72),
        published_ns: header.i64(88),
        bids,
        asks,
        ring_position,
    }
}

pub struct Ring<'a> {
    segment: &'a Segment,
    pub position: u64,
}

impl Ring<'_> {
    fn overrun(&mut self) -> Option<Result<Record, ReadError>> {
        self.position = self.segment.word(RING_HEAD).load(Ordering::Acquire);
        Some(Err(ReadError::Overrun))
    }
}

impl Iterator for Ring<'_> {
    type Item = Result<Record, ReadError>;

    fn next(&mut self) -> Option<Self::Item> {
        let segment = self.segment;
        let head = segment.word(RING_HEAD).load(Ordering::Acquire);
        while self.position != head {
            let left = head.wrapping_sub(self.position);
            if left > segment.ring_bytes || self.position % 8 != 0 {
                return self.overrun();
            }
            let place = self.position & (segment.ring_bytes - 1);
            let first = segment.word(segment.ring_offset + place).load(Ordering::Relaxed);
            let (bytes, kind) = (first & 0xffff_ffff, (first >> 32) as u8);
            if bytes % 8 != 0 || bytes == 0 || bytes > left.min(segment.ring_bytes - place) {
                return self.overrun();
            }
            if kind == 0 {
                if segment.lapped(self.position) {
                    return self.overrun();
                }
                self.position += bytes;
                continue;
            }
            let mut words = vec![0; bytes as usize / 8];
            segment.copy(segment.ring_offset + place, &mut words);
            if segment.lapped(self.position) {
                return self.overrun();
            }
            let Some(record) = record_of(&Copy(&words), bytes) else { return self.overrun() };
            self.position += bytes;
            return Some(Ok(record));
        }
        None
    }
}

fn record_of(raw: &Copy, bytes: u64) -> Option<Record> {
    if bytes < RECORD_BYTES {
        return None;
    }
    let (bids, asks) = (u64::from(raw.u32(64)), u64::from(raw.u32(68)));
    if bytes != RECORD_BYTES + (bids + asks) * LEVEL_BYTES {
        return None;
    }
    let changes = |from: u64, to: u64| (from..to).map(|at| raw.level((RECORD_BYTES + at * LEVEL_BYTES) as usize)).collect();
    Some(Record {
        kind: match raw.u8(4) {
            1 => RecordType::Delta,
            2 => RecordType::Reset,
            3 => RecordType::State,
            _ => return None,
        },
        price_exponent: raw.u8(6),
        quantity_exponent: raw.u8(7),
        book: raw.u32(8),
        epoch: raw.u32(12),
        sequence: raw.u64(16),
        exchange_ns: raw.i64(32),
        receive_ns: raw.i64(40),
        published_ns: raw.i64(56),
        state: raw.u32(72),
        reason: raw.u32(76),
        bids: changes(0, bids),
        asks: changes(bids, bids + asks),
    })
}
