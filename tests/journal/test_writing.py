"""What a commit promises."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from journal_tools import completed, intent, part, start, turn

from romancy_nb.core.events import Event
from romancy_nb.errors import JournalError, NotJournalable
from romancy_nb.journal.on_duckdb import DuckDBJournal
from romancy_nb.journal.protocol import Batch
from romancy_nb.payloads.payload import Payload


def stored(journal: DuckDBJournal) -> list[tuple[Any, ...]]:
    return journal.query("select codec, packing, size, octet_length(data) from stored_payloads order by size").rows


def test_what_was_committed_is_there_in_order(journal: DuckDBJournal) -> None:
    first, second = turn(1, 5, start("a"), intent("0:0")), turn(2, 5, completed("0:0"), first=3)
    journal.commit(first)
    journal.commit(second)
    assert journal.load(5) == first.rows + second.rows
    assert journal.load(6) == []
    journal.release()
    journal.acquire(0)
    assert journal.load(5) == first.rows + second.rows


def test_a_turn_can_be_asked_for_by_its_number(journal: DuckDBJournal) -> None:
    journal.commit(turn(77, 1, start("a")))
    assert journal.committed(77)
    assert not journal.committed(7)


def test_an_empty_batch_writes_nothing(journal: DuckDBJournal) -> None:
    journal.commit(Batch(1))
    assert not journal.committed(1)


def test_a_long_text_is_kept_once_and_reads_as_json(journal: DuckDBJournal) -> None:
    text = '{"words":"' + "ä" * 9000 + '"}'
    journal.commit(turn(1, 1, start("a"), completed("0:0", text=text), completed("0:1", text=text)))
    journal.commit(turn(2, 1, completed("0:2", text=text), first=4))
    journal.release()
    journal.acquire(0)
    journal.commit(turn(3, 2, start("b"), completed("0:0", text=text)))
    assert [row[:2] for row in stored(journal)] == [("json", "text")]
    assert [row.event.payload for row in journal.load(1)[1:]] == [Payload(text)] * 3
    assert journal.query("select length(payload ->> '$.words') from events where call = '0:2'").rows == [(9000,)]


def test_parts_are_kept_once_compressed_where_it_pays(journal: DuckDBJournal) -> None:
    zeros, noise = part(b"\0" * 50_000), part(os.urandom(20_000), "arrow")
    payload = Payload('[{"$part":0},{"$part":1}]', (zeros, noise))
    for number in (1, 2):
        event = Event("activity_completed", 1, "0:0", payload=payload)
        journal.commit(turn(number, number, start(f"i-{number}"), event))
    assert [row[:3] for row in stored(journal)] == [("arrow", "plain", 20_000), ("npy", "zlib", 50_000)]
    assert stored(journal)[1][3] < 1000
    assert journal.load(2)[1].event.payload == payload
    described = journal.load(2, parts=False)[1].event.payload
    assert described is not None
    assert [(p.codec, p.digest, p.size, p.data) for p in described.parts] == [
        ("npy", zeros.digest, 50_000, None),
        ("arrow", noise.digest, 20_000, None),
    ]
    assert journal.part(noise.digest) == noise.data
    # a payload that came without its data can be written again: the data is there
    journal.commit(turn(3, 3, start("i-3"), Event("activity_completed", 1, "0:0", payload=described)))
    assert journal.load(3)[1].event.payload == payload


def test_a_part_and_a_text_of_the_same_bytes_do_not_meet(journal: DuckDBJournal) -> None:
    text = '"' + "x" * 9000 + '"'
    same = part(text.encode())
    journal.commit(turn(1, 1, start("a"), Event("side_effect", 1, "0:0", payload=Payload('{"$part":0}', (same,)))))
    journal.commit(turn(2, 1, completed("0:1", text=text), first=3))
    assert journal.query("select payload ->> '$' from events where call = '0:1'").rows == [("x" * 9000,)]
    assert journal.part(same.digest) == text.encode()


def test_a_part_without_data_that_is_nowhere_is_refused_and_nothing_gets_in(journal: DuckDBJournal) -> None:
    nowhere = part(b"gone").__class__("npy", "0" * 32, None, 4)
    with pytest.raises(JournalError, match="0000"):
        journal.commit(turn(1, 1, start("a"), Event("side_effect", 1, "0:0", payload=Payload("1", (nowhere,)))))
    assert not journal.committed(1)
    assert journal.load(1) == []


def test_a_failed_commit_leaves_nothing_and_the_next_one_works(journal: DuckDBJournal) -> None:
    journal.commit(turn(1, 1, start("a")))
    assert journal.heads(["a"])["a"].last_seq == 1
    with pytest.raises(NotJournalable):
        journal.commit(turn(2, 1, intent("0:0"), completed("0:0", text='"\ud800"'), first=2))
    assert not journal.committed(2)
    assert journal.heads(["a"])["a"].last_seq == 1
    journal.commit(turn(3, 1, intent("0:0"), first=2))
    assert [row.seq for row in journal.load(1)] == [1, 2]
    assert journal.heads(["a"])["a"].last_seq == 2


def test_a_failure_in_the_middle_of_a_long_transaction_takes_the_payload_back_too(journal: DuckDBJournal) -> None:
    long, bad = completed("0:0", text='"' + "x" * 9000 + '"'), completed("0:1", text='"\ud800"')
    with pytest.raises(NotJournalable):
        journal.commit(turn(1, 1, start("a"), long, bad))
    assert stored(journal) == []
    journal.commit(turn(2, 1, start("a"), long))
    assert journal.load(1)[1].event.payload == long.payload


def test_nothing_can_be_asked_of_a_journal_that_is_not_held(path: Path) -> None:
    journal = DuckDBJournal(path)
    with pytest.raises(JournalError, match="acquire"):
        journal.commit(turn(1, 1, start("a")))
    journal.release()
    assert not path.exists()
