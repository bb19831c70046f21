//! The mapping: opened, checked, read by atomic loads, and asked whether its writer lives.

use std::fs::{self, File};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{fence, AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use super::{Copy, ReadError};

const LAYOUT_VERSION: u32 = 1;
const HEADER_BYTES: u64 = 4096;
const SYMBOL_BYTES: u64 = 128;
const BOOK_BYTES: u64 = 512;
const PATIENCE: Duration = Duration::from_millis(20);
const ASK_AFTER: Duration = Duration::from_millis(1); // a wait so long asks whether the writer still lives
const LOOP_PATIENCE_NS: u64 = 2_000_000_000; // a loop that has not turned for so long is as good as dead
pub(super) const BOOK_WORDS: usize = 64;
pub(super) const CHUNK_BYTES: u64 = 640;
pub(super) const CHUNK_LEVELS: u64 = 32;
pub(super) const RING_HEAD: u64 = 192;
pub(super) const RING_RESERVED: u64 = 200;

#[derive(Default)]
pub(super) struct Patience {
    since: Option<Instant>,
    asked: bool,
}

/// One exchange's segment, mapped read-only.
pub struct Segment {
    path: PathBuf,
    file: File,
    base: *const u8,
    pub(super) bytes: u64,
    identity: (u64, u64),
    book_capacity: u64,
    pub(super) chunk_capacity: u64,
    symbol_offset: u64,
    book_offset: u64,
    pub(super) chunk_offset: u64,
    pub(super) ring_offset: u64,
    pub(super) ring_bytes: u64,
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

    pub(super) fn word(&self, offset: u64) -> &AtomicU64 {
        assert!(offset % 8 == 0 && offset < self.bytes && self.bytes - offset >= 8, "{offset} is outside");
        // SAFETY: aligned and inside the mapping, which lives as long as self.
        unsafe { &*self.base.add(offset as usize).cast::<AtomicU64>() }
    }

    pub(super) fn copy(&self, offset: u64, words: &mut [u64]) {
        for (place, word) in words.iter_mut().enumerate() {
            *word = self.word(offset + place as u64 * 8).load(Ordering::Relaxed);
        }
    }

    pub(super) fn u32(&self, offset: u64) -> u32 {
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

    pub(super) fn wait(&self, patience: &mut Patience) -> Result<(), ReadError> {
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
    pub(super) fn locked<T>(&self, offset: u64, read: impl FnOnce() -> T) -> Option<T> {
        let version = self.word(offset).load(Ordering::Acquire);
        if version % 2 == 1 {
            return None;
        }
        let found = read();
        fence(Ordering::Acquire);
        (self.word(offset).load(Ordering::Relaxed) == version).then_some(found)
    }

    pub(super) fn header(&self, offset: u64, patience: &mut Patience) -> Result<[u64; BOOK_WORDS], ReadError> {
        loop {
            let mut words = [0; BOOK_WORDS];
            if self.locked(offset, || self.copy(offset, &mut words)).is_some() {
                return Ok(words);
            }
            self.wait(patience)?;
        }
    }

    pub(super) fn book_at(&self, index: u32) -> Result<u64, ReadError> {
        if u64::from(index) >= u64::from(self.u32(140)).min(self.book_capacity) {
            return Err(ReadError::NoBook);
        }
        Ok(self.book_offset + u64::from(index) * BOOK_BYTES)
    }
}
