"""Merging recordings: every book of the new one is the exchange's at that update, and a gap remains only
where both had one. Journals are written by hand here; tests/end_to_end/test_merge.py has real recorders.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scribe import BEGIN_NS, STEP_NS, SYMBOL, Scribe, Seen, Truth, read, symbol_row

from appliance.cli import main
from gateway.history import find as history
from gateway.history_query import Query
from handlers import shm_layout as layout
from handlers._ffi import lib
from handlers.errors import UnavailableError, UsageError
from handlers.facts import Continuity
from handlers.logs import Log
from handlers.recording.audit import audit
from handlers.recording.journal import BlockType, JournalFile, JournalWriter, files_of
from handlers.recording.merge import Merged, merge
from handlers.recording.parquet import convert
from handlers.recording.played import PlayedBook, steps
from handlers.recording.recorder import RecordSettings, Track
from handlers.recording.splice import Broken, Key, Moment, Stretch, key_of
from handlers.shm import Segment
from handlers.shm_layout import BookState

UPDATES = 60
# what a recording does next: (what, a number)
EVENTS = st.tuples(
    st.sampled_from(("update",) * 6 + ("lose", "resync", "late copy", "process", "file", "joined", "silent")),
    st.integers(1, 6),
)
SCRIPT = st.lists(EVENTS, min_size=5, max_size=40)
Script = list[tuple[str, int]]


def play(scribe: Scribe, script: Script, begin: int = 0) -> Scribe:
    """Records the truth as the script says, to its end."""
    scribe.open(begin, process=True)
    for what, number in script:
        left = UPDATES - scribe.at
        if left <= 8:
            break
        if what == "update":
            for _ in range(number):
                scribe.update()
        elif what == "joined":
            scribe.update(number)
        elif what == "lose":
            scribe.lose(number)
        elif what == "resync":
            scribe.resync(number)
        elif what == "late copy":
            scribe.resync(number, between=2)
        elif what == "silent":
            scribe.silent()
        else:
            scribe.open(scribe.at + (number if what == "process" else 0), process=what == "process")
    while scribe.at < UPDATES:
        scribe.update()
    scribe.close()
    return scribe


def states(directory: Path, exchange: str = "binance") -> list[Seen]:
    return list(read(directory, exchange))


def transitions(seen: list[Seen]) -> set[int]:
    """Updates of the exchange that the recording leads through."""
    found: set[int] = set()
    for one, other in itertools.pairwise(seen):
        live = one.state is BookState.LIVE and other.state is BookState.LIVE
        if live and other.sequence == one.sequence + 1:
            found |= set(range(number_of(one) + 1, number_of(other) + 1))
    return found


def number_of(seen: Seen) -> int:
    """The update that a state is after, by the exchange's stamp."""
    return (seen.exchange_ns - BEGIN_NS) // STEP_NS


def check(truth: Truth, out: Path, merged: Merged) -> list[Seen]:
    """What holds of every merged recording; its states."""
    report = audit(out)
    assert report.clean, report.findings
    assert report.gaps == merged.gaps
    seen = states(out, merged.exchange)
    for one in seen:
        if one.state is BookState.LIVE and one.sides is not None:
            assert one.sides == truth.states[number_of(one)], one
    for one, other in itertools.pairwise(seen):
        assert other.sequence > one.sequence
        assert other.epoch >= one.epoch
        if one.state is BookState.LIVE and other.sequence == one.sequence + 1:
            assert number_of(other) >= number_of(one)
    jumps = sum(other.sequence != one.sequence + 1 for one, other in itertools.pairwise(seen))
    assert jumps == merged.gaps, "each gap is told, and nothing else is missing"
    return seen


@settings(max_examples=60, deadline=None)
@given(first=SCRIPT, second=SCRIPT, seed=st.integers(0, 1 << 16), begin=st.integers(0, 10),
       ahead=st.integers(-3, 3), batches=st.tuples(st.integers(1, 9), st.integers(1, 9)),
       numbered=st.sampled_from([("binance", "shared"), ("kraken", "none"), ("coinbase", "own"),
                                 ("elsewhere", "own")]))  # fmt: skip
def test_what_either_recorded_is_in_the_merge_and_every_book_is_right(
    first: Script, second: Script, seed: int, begin: int, ahead: int, batches: tuple[int, int],
    numbered: Any, tmp_path_factory: pytest.TempPathFactory,
) -> None:  # fmt: skip
    base, truth, (exchange, ids) = tmp_path_factory.mktemp("merge"), Truth(UPDATES, seed), numbered
    one = play(Scribe(base / "a", truth, exchange, first=40, batch=batches[0], ids=ids), first)
    other = Scribe(base / "b", truth, exchange, clock_ns=ahead * STEP_NS, batch=batches[1], ids=ids)
    play(other, second, begin)
    (merged,) = merge([base / "a", base / "b"], base / "out", file_bytes=6000)
    seen = check(truth, base / "out", merged)
    assert transitions(seen) >= one.transitions | other.transitions
    assert merged.differing == 0
    again = merge([base / "out", base / "a"], base / "again")[0]
    assert again.gaps <= merged.gaps, "a merge can be merged"
    check(truth, base / "again", again)


def two(base: Path, *, count: int = UPDATES) -> tuple[Scribe, Scribe]:
    """A loses updates 21 to 30, B 41 to 50; both lose 56 and 57."""
    truth = Truth(count, 1)
    a, b = Scribe(base / "a", truth, first=100), Scribe(base / "b", truth, first=7)
    for scribe, begin in ((a, 20), (b, 40)):
        scribe.open(0)
        while scribe.at < begin:
            scribe.update()
        scribe.lose(10)
        while scribe.at < 55:
            scribe.update()
        scribe.lose(2)
        while scribe.at < count:
            scribe.update()
        scribe.close()
    return a, b


def manifest(out: Path) -> dict[str, Any]:
    told = orjson.loads((out / "merge.json").read_bytes())
    return dict(told["exchanges"]["binance"]["books"][SYMBOL])


def test_the_manifest_says_what_came_from_where_and_what_both_lack(tmp_path: Path) -> None:
    a, _ = two(tmp_path)
    (merged,) = merge([tmp_path / "a", tmp_path / "b"], tmp_path / "out")
    assert (merged.holes, merged.gaps, merged.seams, merged.differing) == ([2, 2], 1, 3, 0)
    told = manifest(tmp_path / "out")
    rows = [(row["source"], row["from"]["venue_sequence"] - 1, row["to"]["venue_sequence"] - 1)
            for row in told["segments"]]  # fmt: skip
    assert rows == [("A", 0, 20), ("B", 21, 30), ("A", 31, 55), ("A", 57, 60)]
    first, second = told["segments"][:2]
    assert first["from_sequence"] == a.first, "A's own numbers, until the first seam"
    assert second["from_sequence"] == first["to_sequence"] + 1
    assert (second["key"], second["same_book"]) == ("venue_sequence", True)
    assert second["before"]["exchange_ns"] == a.truth.time_ns(20)
    assert second["why"] == "A: the ring went round"
    (gap,) = told["gaps"]
    assert gap["lacks"] == {"A": "the ring went round", "B": "the ring went round"}
    assert gap["from_sequence"] == told["segments"][2]["to_sequence"] + 2, "one says that the book is lost"
    assert gap["to_sequence"] == told["segments"][3]["from_sequence"] - 1
    seen = check(a.truth, tmp_path / "out", merged)
    assert [one.state for one in seen if one.state is not BookState.LIVE] == [BookState.RESYNC]


def test_parquet_of_it_has_the_gap_and_the_seams_in_its_manifest(tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    two(tmp_path)
    out = tmp_path / "out"
    merge([tmp_path / "a", tmp_path / "b"], out, file_bytes=4000)
    for path in files_of(out):
        convert(out, path)
    manifests = [orjson.loads(path.read_bytes()) for path in sorted(out.rglob("*.gaps.json"))]
    gaps = [gap for told in manifests for gap in told["gaps"]]
    assert gaps == [{key: manifest(out)["gaps"][0][key] for key in gaps[0]}]
    assert [seam["source"] for told in manifests for seam in told.get("seams", [])] == ["A", "B", "A", "A"]
    rows = [row for path in sorted(out.rglob("*.parquet")) for row in parquet.read_table(path).to_pylist()]
    assert [row["type"] for row in rows].count("reset") == 3
    assert {row["sequence"] for row in rows if row["type"] != "snapshot"} == {
        one.sequence for one in states(out)
    } - {100}, "the first is a copy"
    assert audit(out).clean
    pytest.importorskip("duckdb")
    query = Query("updates", out / "parquet" / "binance" / SYMBOL, 0, 1 << 62, 1000, None, 60_000_000_000)
    page = history(query)
    assert [row["sequence"] for row in page.rows] == [one.sequence for one in states(out)][1:]


def test_a_replay_of_it_shows_the_book_and_nothing_where_nobody_had_it(tmp_path: Path) -> None:
    a, _ = two(tmp_path)
    out = tmp_path / "out"
    merge([tmp_path / "a", tmp_path / "b"], out, file_bytes=4000)
    played = PlayedBook(tmp_path, "binance", 0, np.frombuffer(symbol_row(), layout.SYMBOL)[0], 64)
    shown = []
    with Segment.open(tmp_path / "binance.shm") as segment:
        for _, payload, whole in steps(out, "binance", SYMBOL, 0, 1 << 62):
            played.apply(payload, whole)
            book = segment.book(0)
            if book.state is BookState.LIVE:
                sides = [dict(zip(side["price"].tolist(), side["quantity"].tolist(), strict=True))
                         for side in (book.bids, book.asks)]  # fmt: skip
                number = book.venue_sequence - 1
                assert tuple(sides) == a.truth.states[number]
                shown.append(number)
            else:
                shown.append(-1)
    played.close()
    changes = [number for number, _ in itertools.groupby(shown) if number >= 0]
    assert changes == [number for number in range(UPDATES + 1) if number != 56]
    assert -1 in shown[shown.index(55) : shown.index(57)]


@pytest.mark.parametrize("ahead_ns", [-20, 20])
def test_without_numbers_or_stamps_the_clocks_say_where(ahead_ns: int, tmp_path: Path) -> None:
    truth = Truth(UPDATES, 5)
    for name, begin, clock_ns in (("a", 20, 0), ("b", 40, ahead_ns)):
        scribe = Scribe(tmp_path / name, truth, "lbank", ids="none", stamps=False, clock_ns=clock_ns)
        scribe.open(0)
        while scribe.at < begin:
            scribe.update()
        scribe.lose(10)
        while scribe.at < UPDATES:
            scribe.update()
        scribe.close()
    (merged,) = merge([tmp_path / "a", tmp_path / "b"], tmp_path / "out")
    told = orjson.loads((tmp_path / "out" / "merge.json").read_bytes())["exchanges"]["lbank"]["books"]
    assert told[SYMBOL]["key"] == "receive_ns"
    assert merged.gaps == 0
    seen = states(tmp_path / "out", "lbank")
    # at a seam an update may be there twice, or be part of the next, as it came later to one box
    places = [truth.states.index(one.sides) for one in seen if one.sides is not None]
    assert places == sorted(places)
    assert len(set(places)) >= len(truth.states) - merged.seams
    assert len(places) <= len(truth.states) + merged.seams


def test_damage_is_a_gap_like_any_other_and_told(tmp_path: Path) -> None:
    a, _ = two(tmp_path)
    (path,) = files_of(tmp_path / "a")
    records = [block for block in JournalFile(path) if block.type is BlockType.RECORDS]
    at, data = records[1].at, bytearray(path.read_bytes())
    del records
    data[at + 100] ^= 1
    path.write_bytes(data)
    (merged,) = merge([tmp_path / "a", tmp_path / "b"], tmp_path / "out")
    (damage,) = merged.damage
    assert damage.startswith(f"A: {path} at {at}: the payload's checksum is wrong")
    assert merged.gaps == 1, "B has what was damaged"
    seen = check(a.truth, tmp_path / "out", merged)
    assert {number_of(one) for one in seen} == set(range(UPDATES + 1)) - {56}


def test_what_cannot_be_merged_is_said(tmp_path: Path) -> None:
    two(tmp_path)
    out = tmp_path / "out"
    with pytest.raises(UsageError, match="no recording"):
        merge([tmp_path / "a", tmp_path / "nowhere"], out)
    with pytest.raises(UsageError, match=r"no recording of okx.*a;"):
        merge([tmp_path / "a", tmp_path / "b"], out, ["okx"])
    truth = Truth(UPDATES, 1)
    for name, exchange, begin in (("kraken", "kraken", 0), ("late", "binance", 50)):
        scribe = Scribe(tmp_path / name, truth, exchange, behind_ns=begin * 10**9)
        scribe.open(0)
        scribe.update()
        scribe.close()
    with pytest.raises(UsageError, match="no book in common: A has binance:BTC-USDT; B has kraken:BTC-USDT"):
        merge([tmp_path / "a", tmp_path / "kraken"], out)
    with pytest.raises(UsageError, match=r"not made at the same time: A from 2026-11-18T\S+ to .*; B from"):
        merge([tmp_path / "a", tmp_path / "late"], out)
    (tmp_path / "torn" / "journal" / "binance").mkdir(parents=True)
    (tmp_path / "torn" / "journal" / "binance" / "1.bwj").write_bytes(b"no block" * 40)
    with pytest.raises(UnavailableError, match="no block of a journal"):
        merge([tmp_path / "a", tmp_path / "torn"], out)
    assert not out.exists()
    out.mkdir()
    (out / "kept").write_text("mine")
    with pytest.raises(UsageError, match="not an empty directory"):
        merge([tmp_path / "a", tmp_path / "b"], out)
    assert [path.name for path in out.iterdir()] == ["kept"]


@pytest.mark.parametrize("there", [False, True])
def test_a_full_disk_leaves_nothing_behind(
    there: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    two(tmp_path)
    out, append, left = tmp_path / "out", JournalWriter.append, iter(range(6))
    if there:
        out.mkdir()

    def full(self: JournalWriter, *given: Any, **more: Any) -> None:
        if next(left, None) is None:
            raise OSError(28, "No space left on device", str(self.path))
        append(self, *given, **more)

    monkeypatch.setattr(JournalWriter, "append", full)
    with pytest.raises(UnavailableError, match="No space left on device; nothing was left"):
        merge([tmp_path / "a", tmp_path / "b"], out)
    assert out.exists() is there
    assert not there or not list(out.iterdir())


def test_an_exchange_that_only_one_recorded_is_taken_from_it(tmp_path: Path) -> None:
    two(tmp_path)
    scribe = Scribe(tmp_path / "b", Truth(UPDATES, 2), "okx")
    scribe.open(0)
    while scribe.at < UPDATES:
        scribe.update()
    scribe.close()
    told = {one.exchange: one for one in merge([tmp_path / "a", tmp_path / "b"], tmp_path / "out")}
    assert (told["okx"].records, told["okx"].gaps, told["okx"].seams) == (UPDATES, 0, 0)
    assert [one.sides for one in states(tmp_path / "out", "okx")] == scribe.truth.states


def test_the_command_says_what_it_did(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    two(tmp_path)
    given = [str(tmp_path / "a"), str(tmp_path / "b"), "-o"]
    assert main(["merge", *given, str(tmp_path / "out")]) == 0
    assert "gaps 2 and 2, now 1; 3 seams" in capsys.readouterr().out
    assert main(["merge", *given, str(tmp_path / "json"), "--json"]) == 0
    assert orjson.loads(capsys.readouterr().out)["gaps"] == 1
    assert main(["merge", *given, str(tmp_path / "out")]) == 64
    assert "not an empty directory" in capsys.readouterr().err
    assert main(["verify", str(tmp_path / "out")]) == 0


def test_recorders_that_were_away_until_the_ring_had_gone_round(
    tmp_path: Path, writer_class: Callable[[Path], Any]
) -> None:
    """The recorder itself, over shared memory: two boxes that see the same updates, killed in turn."""
    boxes = []
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        writer = writer_class(tmp_path / name / "binance.shm")
        told = RecordSettings(tmp_path / name, tmp_path, tmp_path / f"{name}-recording", ("binance",))
        boxes.append((writer, told))
    made: list[int] = []

    def publish(count: int) -> None:
        for _ in range(count):
            made.append(len(made) + 1)
            for writer, _ in boxes:
                change = [(0, 100 + made[-1] % 50, made[-1], 0), (1, 300 + made[-1] % 50, made[-1], 0)]
                lib.bw_shm_writer_book(writer.writer, 0).venue_sequence = made[-1]
                writer.publish(0, change)

    def tracks() -> list[Track]:
        found = [Track(told, "binance", Log("record")) for _, told in boxes]
        for track in found:
            track.poll(1.0)
        return found

    publish(50)
    running = tracks()
    for away in (0, 1):  # a recorder that is not there any more reads nothing
        publish(100)
        for track in running:
            track.poll(2.0)
        for _ in range(5):
            publish(2000)
            running[1 - away].poll(2.0)
        running = tracks()
    publish(100)
    for track in running:
        track.close("stopped")
    for writer, _ in boxes:
        writer.close()
    (merged,) = merge([told.dir for _, told in boxes], tmp_path / "out")
    assert (merged.holes, merged.gaps) == ([1, 1], 0)
    assert audit(tmp_path / "out").clean
    seen = states(tmp_path / "out")
    assert [one.venue_sequence for one in seen] == made[49:]
    books: dict[int, dict[int, int]] = {0: {}, 1: {}}
    for number in made:
        books[0][100 + number % 50] = books[1][300 + number % 50] = number
        if number >= 50:
            assert seen[number - 50].sides == (books[0], books[1]), number


def stretch(source: int, first: int, last: int, **keys: int) -> Stretch:
    """A stretch whose keys are its times; ``ids`` and ``stamps``: what to add to them, 0: it has none."""

    def moment(at: int) -> Moment:
        ids, stamps = keys.get("ids", 1), keys.get("stamps", 1)
        return Moment(at, 1, ids and at + ids, stamps and at + stamps, at * 10**9, at * 10**9)

    return Stretch(source, source, moment(first), moment(last), Broken("the test says so", 0))


@pytest.mark.parametrize(
    ("continuity", "mine", "theirs", "key"),
    [
        (Continuity.NEXT, [stretch(0, 1, 20), stretch(0, 30, 50)], [stretch(1, 3, 40)], Key.VENUE_SEQUENCE),
        (Continuity.CONNECTION, [stretch(0, 1, 20)], [stretch(1, 3, 40)], Key.EXCHANGE_NS),
        (Continuity.NONE, [stretch(0, 1, 20, ids=0)], [stretch(1, 3, 40, ids=0)], Key.EXCHANGE_NS),
        (None, [stretch(0, 1, 20, stamps=0)], [stretch(1, 3, 40, stamps=0)], Key.RECEIVE_NS),
        # the exchange began to count anew; the boxes count apart
        (Continuity.NEXT, [stretch(0, 1, 20, ids=900), stretch(0, 30, 50)], [], Key.EXCHANGE_NS),
        (Continuity.NEXT, [stretch(0, 1, 20)], [stretch(1, 3, 40, ids=900)], Key.EXCHANGE_NS),
    ],
)
def test_a_seam_is_found_by_what_both_have(
    continuity: Continuity | None, mine: list[Stretch], theirs: list[Stretch], key: Key
) -> None:
    assert key_of([mine, theirs], continuity) is key
