"""The recorder against a segment that is being written: crashes, restarts, full rings, budgets, audits."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from appliance.commands.status import recorder_line
from gateway.directory import SegmentDirectory
from gateway.metrics import exposition
from gateway.observe import is_fresh, read_status
from gateway.settings import HttpSettings
from handlers import shm_layout as layout
from handlers._ffi import lib
from handlers.logs import Log
from handlers.recording.audit import audit, record_offsets
from handlers.recording.journal import BlockType, JournalFile, JournalWriter, files_of
from handlers.recording.recorder import Recorder, RecordSettings, Track, last_of
from handlers.recording.retention import Retention

MakeTrack = Callable[..., Track]
SegmentWriter = Any  # of conftest


@pytest.fixture
def told(path: Path, run_dir: Path, tmp_path: Path) -> RecordSettings:
    return RecordSettings(path.parent, run_dir, tmp_path / "record", ("binance",))


@pytest.fixture
def track(told: RecordSettings) -> Iterator[MakeTrack]:
    """Makes a track of the exchange, polled once."""
    made: list[Track] = []

    def make(**changes: Any) -> Track:
        made.append(Track(RecordSettings(**{**vars(told), **changes}), "binance", Log("record")))
        made[-1].poll(1.0)
        return made[-1]

    yield make
    for each in made:
        each.close("the test is over")


def sequences(directory: Path, book: int = 0) -> list[int]:
    """Recorded sequences of a book, in the order of the files."""
    found = []
    for path in files_of(directory):
        for block in JournalFile(path):
            if block.type is BlockType.RECORDS:
                for at in record_offsets(block.payload):
                    head = np.frombuffer(block.payload, layout.RECORD, 1, at)[0]
                    if head["book"] == book:
                        found.append(int(head["sequence"]))
    return found


def publish(writer: SegmentWriter, count: int, book: int = 0, kind: int = lib.BW_RECORD_DELTA) -> None:
    for step in range(count):
        writer.publish(book, [(0, 100 + step % 50, 5, 0), (1, 300 + step % 50, 6, 0)], kind)


def test_every_update_is_recorded_once(writer: SegmentWriter, track: MakeTrack, told: RecordSettings) -> None:
    publish(writer, 10)
    recording = track()
    publish(writer, 500)
    publish(writer, 3, 1)
    recording.poll(2.0)
    recording.close("stopped")
    assert sequences(told.dir) == list(range(1, 511))
    assert sequences(told.dir, 1) == [1, 2, 3]
    report = audit(told.dir)
    assert report.clean
    assert (report.updates, report.books, report.gaps, report.torn) == (513, 2, 0, 0)


def test_a_restarted_recorder_goes_on_where_the_last_one_stopped(
    writer: SegmentWriter, track: MakeTrack, told: RecordSettings
) -> None:
    for turn in range(10):
        recording = track()
        publish(writer, 100)
        recording.poll(2.0)
        publish(writer, 7)  # not copied any more: the recorder is gone, as after kill -9
        assert len(files_of(told.dir)) == turn + 1, "each has a file of its own"
    track().poll(2.0)
    assert sequences(told.dir) == list(range(1, 1071))
    assert audit(told.dir).clean


@settings(max_examples=40, deadline=None)
@given(share=st.floats(0, 1), garbage=st.binary(max_size=100))
def test_a_crash_at_any_byte_loses_nothing_before_it_and_the_ring_gives_the_rest(
    share: float,
    garbage: bytes,
    tmp_path_factory: pytest.TempPathFactory,
    writer_class: Callable[[Path], SegmentWriter],
) -> None:
    base = tmp_path_factory.mktemp("crash")
    writer = writer_class(base / "binance.shm")
    told = RecordSettings(base, base, base / "record", ("binance",))
    try:
        first = Track(told, "binance", Log("record"))
        first.poll(1.0)
        for _ in range(5):
            publish(writer, 20)
            first.poll(2.0)
        (journal,) = files_of(told.dir)
        cut = int(journal.stat().st_size * share)
        os.truncate(journal, cut)
        with journal.open("ab") as file:
            file.write(garbage)  # what a file system may leave of the unsynced end
        before = journal.read_bytes()
        second = Track(told, "binance", Log("record"))
        second.poll(3.0)
        publish(writer, 5)
        second.close("stopped")
        assert journal.read_bytes() == before, "what stands there is never touched"
        assert sorted(set(sequences(told.dir))) == list(range(1, 106))
        report = audit(told.dir)
        assert [finding for finding in report.findings if finding.kind != "torn"] == []
    finally:
        writer.close()


def test_what_the_ring_lost_is_told(writer: SegmentWriter, track: MakeTrack, told: RecordSettings) -> None:
    recording = track()
    publish(writer, 10)
    recording.poll(2.0)
    publish(writer, 12_000)  # more than the ring holds
    recording.poll(3.0)
    publish(writer, 10)
    recording.poll(4.0)
    recording.close("stopped")
    assert recording.counts.overruns == 1
    report = audit(told.dir)
    assert report.clean
    assert report.gaps == 1
    assert sequences(told.dir)[-10:] == list(range(12_011, 12_021))


def test_a_replaced_book_is_copied_whole(
    writer: SegmentWriter, track: MakeTrack, told: RecordSettings
) -> None:
    recording = track()
    publish(writer, 30)
    writer.publish(0, [(0, 777, 1, 0)], lib.BW_RECORD_RESET)
    recording.poll(2.0)
    (path,) = files_of(told.dir)
    copies = [block for block in JournalFile(path) if block.type is BlockType.BOOK and block.book == 0]
    header, bids, asks = copies[-1].copied_book()
    assert header["sequence"] == 31
    assert bids[0]["price"] == 777
    assert len(bids) + len(asks) == copies[-1].items


def test_files_are_ended_at_their_size_and_each_is_complete(
    writer: SegmentWriter, track: MakeTrack, told: RecordSettings
) -> None:
    recording = track(file_bytes=20_000)
    for turn in range(10):
        publish(writer, 60)
        recording.poll(2.0 + turn)
    files = files_of(told.dir)
    assert len(files) > 3
    for path in files:
        types = [block.type for block in JournalFile(path)]
        assert types[:2] == [BlockType.FILE, BlockType.SYMBOLS]
        assert types.count(BlockType.BOOK) >= 2
    assert sequences(told.dir) == list(range(1, 601))
    assert audit(told.dir).clean


def test_a_new_process_of_the_exchange_is_taken_up(
    make_writer: Callable[[], SegmentWriter], track: MakeTrack, told: RecordSettings
) -> None:
    first = make_writer()
    recording = track()
    publish(first, 5)
    first.close()
    second = make_writer()
    recording.poll(2.0)
    publish(second, 7)
    recording.poll(3.0)
    recording.close("stopped")
    assert sequences(told.dir) == [1, 2, 3, 4, 5, 1, 2, 3, 4, 5, 6, 7]
    assert audit(told.dir).clean


@pytest.mark.parametrize("kind", ["flipped", "lost", "twice", "short"])
def test_verify_finds_what_was_done_to_a_file(
    kind: str, writer: SegmentWriter, track: MakeTrack, told: RecordSettings
) -> None:
    recording = track()
    for _ in range(6):
        publish(writer, 10)
        recording.poll(2.0)
    recording.close("stopped")
    assert audit(told.dir).clean
    (path,) = files_of(told.dir)
    blocks = list(JournalFile(path))
    spans = [(block.at, 64 + len(block.payload)) for block in blocks if block.type is BlockType.RECORDS]
    data = bytearray(path.read_bytes())
    del blocks
    at, size = spans[2]
    if kind == "flipped":
        data[at + 100] ^= 1
    elif kind == "lost":
        del data[at : at + size]
    elif kind == "twice":
        data[at:at] = data[at : at + size]
    else:
        del data[at + 40 : at + 48]
    path.write_bytes(data)
    report = audit(told.dir)
    assert not report.clean
    assert {finding.at for finding in report.findings} & {at, at + size}, report.findings


def test_a_full_disk_is_told_and_what_the_ring_holds_is_written_later(
    writer: SegmentWriter, track: MakeTrack, told: RecordSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    recording = track()
    publish(writer, 10)
    with monkeypatch.context() as full:

        def refuse(*_: object) -> int:
            raise OSError(28, "No space left on device")

        full.setattr(JournalWriter, "follow", refuse)
        recording.poll(2.0)
    assert recording.counts.disk_errors == 1
    publish(writer, 10)
    recording.poll(3.0)
    assert sequences(told.dir) == list(range(1, 21))


def test_the_oldest_leave_when_the_budget_is_used_up(tmp_path: Path) -> None:
    directory = tmp_path / "journal" / "okx"
    directory.mkdir(parents=True)
    for number in range(6):
        path = directory / f"{number}.bwj"
        path.write_bytes(bytes(1000))
        os.utime(path, ns=(2_000_000_000_000_000_000 + number,) * 2)
    keeping = Retention(tmp_path, 3500, 1e6, Log("record"))
    keeping.enforce([directory / "0.bwj"])
    assert sorted(path.name for path in directory.iterdir()) == ["0.bwj", "4.bwj", "5.bwj"]
    assert (keeping.bytes, keeping.removed) == (3000, 3)
    keeping.keep_hours = 1e-9
    os.utime(directory / "4.bwj", ns=(1, 1))
    keeping.enforce([directory / "0.bwj"])
    assert not (directory / "4.bwj").exists()


def test_the_status_tells_what_was_recorded_and_what_waits(
    writer: SegmentWriter, told: RecordSettings
) -> None:
    recorder = Recorder(told, Log("record"))
    publish(writer, 50)
    for track in recorder.tracks:
        track.poll(1.0)
    recorder.write_status()
    status = read_status(told.run_dir, "record")
    assert is_fresh(status)
    assert status["exchanges"]["binance"]["records"] == 50
    assert status["exchanges"]["binance"]["lag_bytes"] == 0
    directory = SegmentDirectory(told.shm_dir, 1000)
    text = exposition(HttpSettings(told.shm_dir, told.run_dir), directory)
    assert "bookwire_recorder_up 1\n" in text
    assert 'bookwire_recorder_records_total{exchange="binance"} 50\n' in text
    path = told.run_dir / "record.status.json"
    path.write_bytes(orjson.dumps({**status, "time": time.time() - 60}))
    assert "bookwire_recorder_up 0\n" in exposition(HttpSettings(told.shm_dir, told.run_dir), directory)
    directory.close()
    assert "50 updates" in recorder_line({**status, "age_s": 0.4})
    assert "SILENT for 60 s" in recorder_line({**status, "age_s": 60.0})
    for track in recorder.tracks:
        track.close("stopped")


def test_the_process_syncs_and_ends_its_files(writer: SegmentWriter, told: RecordSettings) -> None:
    recorder = Recorder(told, Log("record"))
    thread = threading.Thread(target=recorder.run)
    thread.start()
    publish(writer, 50)
    recorder.stop.set()
    thread.join(10)
    assert not thread.is_alive()
    assert sequences(told.dir) == list(range(1, 51))
    (path,) = files_of(told.dir)
    assert list(JournalFile(path))[-1].type is BlockType.END
    assert last_of(told.dir, "binance").position > 0


KILLED = """
import sys; sys.path.insert(0, {root!r})
from pathlib import Path
from handlers.recording.recorder import Recorder, RecordSettings
base = Path({base!r})
Recorder(RecordSettings(base, Path({run!r}), Path({out!r}), ("binance",))).run()
"""


def test_kill_nine_of_the_recorder_loses_nothing_that_the_ring_holds(
    writer: SegmentWriter, told: RecordSettings
) -> None:
    root = str(Path(__file__).resolve().parents[2])
    code = KILLED.format(root=root, base=str(told.shm_dir), run=str(told.run_dir), out=str(told.dir))
    for turn in range(5):
        process = subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.DEVNULL)
        waited = threading.Event()
        while len(files_of(told.dir)) <= turn and not waited.wait(0.01):
            assert process.poll() is None
        for _ in range(20):
            publish(writer, 10)
            waited.wait(0.002)
        process.send_signal(signal.SIGKILL)
        process.wait()
    final = Track(told, "binance", Log("record"))
    final.poll(1.0)
    final.close("stopped")
    assert sequences(told.dir) == list(range(1, 1001))
    assert audit(told.dir).clean
