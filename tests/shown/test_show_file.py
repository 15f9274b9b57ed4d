"""``romancy-nb show BOOK.ipynb``: the timelines of a saved notebook, without a kernel and without a journal."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nbformat
import pytest

import romancy_nb as rn
from romancy_nb.cli import main
from romancy_nb.runtime.streams import detach
from romancy_nb.widgets.fallback import HISTORY_MIME, text


@rn.activity
def fetch(topic: str) -> str:
    return f"about {topic}"


@rn.activity(retry=rn.RetryPolicy(max_attempts=2, initial=0.01))
def refuse(topic: str) -> None:
    raise ValueError(f"no {topic} today")


@rn.workflow
def research(topics: list[str]) -> list[str]:
    return [fetch(topic) for topic in topics]


@rn.workflow
def failing(topic: str) -> None:
    fetch(topic)
    refuse(topic)


@pytest.fixture(scope="module")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """The saved forms of real runs."""
    rn.connect(tmp_path_factory.mktemp("journal") / "journal.duckdb")
    try:
        short = research.start(["owls", "bats"], instance_id="research-short")
        long = research.start([f"topic {n}" for n in range(300)], instance_id="research-long")
        failed = failing.start("rain", instance_id="failing-1")
        short.result()
        long.result()
        with pytest.raises(ValueError, match="no rain"):
            failed.result()
        return {
            each.id.split("-")[1]: {**each.timeline()._repr_mimebundle_(), "whole": text(each.timeline().view)}
            for each in (short, long, failed)
        }
    finally:
        rn.disconnect()
        detach()


@pytest.fixture
def book(bundles: dict[str, dict[str, Any]], tmp_path: Path) -> Path:
    """A notebook with a cell of prose, one without a timeline, and one for each run."""
    made = nbformat.v4.new_notebook()
    made.cells = [nbformat.v4.new_markdown_cell("# Research"), nbformat.v4.new_code_cell("1 + 1", execution_count=1)]
    for count, (name, bundle) in enumerate(bundles.items(), 2):
        saved = {mime: data for mime, data in bundle.items() if mime != "whole"}
        cell = nbformat.v4.new_code_cell(f"# {name}\nresearch({name!r})", execution_count=count)
        cell.outputs = [nbformat.v4.new_output("display_data", data=saved)]
        made.cells.append(cell)
    made.cells[2].outputs = [*made.cells[2].outputs, nbformat.v4.new_output("stream", text="['about owls']")]
    path = tmp_path / "book.ipynb"
    nbformat.write(made, path)
    return path


@pytest.fixture(autouse=True)
def nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Nothing here may ask for a journal, or make one."""
    monkeypatch.chdir(tmp_path)
    yield
    assert not (tmp_path / ".romancy").exists()


def show(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    code = main(["show", *arguments])
    told = capsys.readouterr()
    return code, told.out, told.err


def with_history(path: Path, cell: int, **changed: Any) -> Path:
    """Change what the history of one cell says."""
    made = json.loads(path.read_text("utf-8"))
    made["cells"][cell - 1]["outputs"][0]["data"][HISTORY_MIME].update(changed)
    path.write_text(json.dumps(made))
    return path


def safe(shown: str) -> bool:
    """Is there nothing in it that a terminal obeys?"""
    return all(char == "\n" or (char.isprintable() and not "\u202a" <= char <= "\u2069") for char in shown)


def test_each_cell_is_named_and_its_timeline_is_the_one_that_the_journal_would_show(
    book: Path, bundles: dict[str, dict[str, Any]], capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, err = show(capsys, str(book))
    assert (code, err) == (0, "")
    assert "── cell 3 [2]  research('short')" in out and "── cell 5 [4]  research('1')" in out
    assert bundles["short"]["whole"] in out and bundles["1"]["whole"] in out
    assert "cell 2" not in out


def test_of_a_long_run_the_steps_that_are_not_in_the_file_are_counted(
    book: Path, bundles: dict[str, dict[str, Any]], capsys: pytest.CaptureFixture[str]
) -> None:
    omitted = bundles["long"][HISTORY_MIME]["omitted"]["steps"]
    _, out, _ = show(capsys, str(book), "--cell", "4")
    assert "300 executed" in out and f"⋮ {omitted:,} steps between the first" in out
    assert "romancy-nb show research-long has them all" in " ".join(out.split())


def test_one_cell_can_be_chosen(book: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _, out, _ = show(capsys, str(book), "--cell", "5")
    assert "no rain today" in out and "owls" not in out
    _, out, _ = show(capsys, str(book), "--cell", "2")
    assert "Cell 2" in out and "holds no timeline" in out
    code, _, err = show(capsys, str(book), "--cell", "9")
    assert code == 1 and "has 5 cells" in " ".join(err.split())


def test_programs_get_the_history_as_it_stands_in_the_file(
    book: Path, bundles: dict[str, dict[str, Any]], capsys: pytest.CaptureFixture[str]
) -> None:
    _, out, _ = show(capsys, str(book), "--json")
    told = json.loads(out)
    assert [(each["cell"], each["execution_count"], each["problem"]) for each in told] == [
        (3, 2, None),
        (4, 3, None),
        (5, 4, None),
    ]
    assert told[0]["history"] == bundles["short"][HISTORY_MIME]


def test_it_fits_the_terminal_and_colours_only_the_marks(
    book: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "72")
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    _, out, _ = show(capsys, str(book), "--cell", "5")
    assert "\x1b[32m✓\x1b[0m fetch" in out and "\x1b[31m✗\x1b[0m refuse" in out
    monkeypatch.setenv("NO_COLOR", "1")
    _, plain, _ = show(capsys, str(book), "--cell", "5")
    assert "\x1b" not in plain and max(map(len, plain.splitlines())) <= 72


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "it is not JSON"),
        (b"{", "it is not JSON"),
        (b"[" * 100_000, "it is not JSON"),
        (b'{"nbformat": ' + b"9" * 5000 + b"}", "it is not JSON"),
        (b"\xff\xfe\x00", "not text in UTF-8"),
        (b"[]", "does not say which notebook format"),
        (b'{"nbformat": 5, "cells": []}', "newer than this version"),
        (b'{"nbformat": 4, "cells": {}}', "no list of cells"),
        (b'{"nbformat": 2, "worksheets": 7}', "cannot be brought"),
        (b'{"nbformat": 4, "cells": [1, {}, {"outputs": [null, {"data": []}]}]}', ""),
    ],
)
def test_what_is_no_notebook_is_said_to_be_none(
    content: bytes, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "odd.ipynb"
    path.write_bytes(content)
    code, out, err = show(capsys, str(path))
    assert code == (1 if said else 0) and said in " ".join(err.split())
    assert said or "holds no timeline" in out


def test_a_file_that_is_not_there_or_is_huge_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = show(capsys, "none.ipynb")
    assert code == 1 and "There is no file none.ipynb." in err
    with (tmp_path / "huge.ipynb").open("wb") as huge:
        huge.truncate(300 * 2**20)  # sparse
    code, _, err = show(capsys, "huge.ipynb")
    assert code == 1 and "300 MB" in err
    (tmp_path / "folder.ipynb").mkdir()
    code, _, err = show(capsys, "folder.ipynb")
    assert code == 1 and "cannot be read" in err


def test_an_older_notebook_format_is_read(book: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made = nbformat.convert(nbformat.read(book, as_version=4), 3)
    book.write_text(json.dumps(made))
    assert show(capsys, str(book))[0] == 0


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"schema": "something.else"}, "does not say that it is a history of romancy_nb"),
        ({"version": 99}, "A newer version of romancy_nb wrote it (format 99"),
        ({"version": "1"}, "does not say which version"),
        ({"steps": {}}, "steps is an object"),
        ({"steps": [1]}, "is a number and should be an object"),
        ({"steps": [{"name": "a", "status": "flying"}]}, "has the status 'flying', which there is not"),
        (
            {"steps": [{"status": "failed", "attempts": [{"outcome": "odd"}]}]},
            "has the outcome 'odd', which there is not",
        ),
        ({"started": 1e300}, "started is a number"),
        ({"started": 2**70}, "started is a number"),
        ({"steps": [{}] * 20_001}, "20,001 steps"),
    ],
)
def test_a_history_that_cannot_be_read_is_said_to_be_so_and_the_saved_text_is_shown(
    changed: dict[str, Any], said: str, book: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, _ = show(capsys, str(with_history(book, 3, **changed)), "--cell", "3")
    flat = " ".join(out.split())
    assert code == 0 and said in flat
    assert "What was saved beside it as text:" in out and "owls" in out
    _, told, _ = show(capsys, str(book), "--cell", "3", "--json")
    assert said in json.loads(told)[0]["problem"]


def test_nothing_in_a_file_reaches_the_terminal_as_a_command(book: Path, capsys: pytest.CaptureFixture[str]) -> None:
    evil = "\x1b]0;owned\x07\x1b[2J\x9b31m\u202egnp.\r\n"
    steps = [{"name": evil, "call": evil, "input": evil, "status": "completed", "kind": evil, "limits": [evil]}]
    texts = dict.fromkeys(("workflow", "instance", "words", "hint", "problem", "output", "input", "reason"), evil)
    with_history(book, 3, steps=steps, **texts)
    made = json.loads(book.read_text("utf-8"))
    made["cells"][2]["source"] = [evil, "call()"]
    made["cells"][3]["outputs"][0]["data"][HISTORY_MIME]["schema"] = evil
    made["cells"][3]["outputs"][0]["data"]["text/plain"] = [evil * 3, evil]
    made["cells"][4]["outputs"][0]["data"][HISTORY_MIME]["steps"][0]["status"] = evil
    book.write_text(json.dumps(made))
    _, out, _ = show(capsys, str(book))
    assert safe(out), ascii(out)
    _, out, _ = show(capsys, str(book), "--json")
    assert safe(out)
    book.write_text('{"nbformat": "\x1b[2J')
    _, _, err = show(capsys, str(book))
    assert safe(err)
    _, _, err = show(capsys, "\x1b[2J.ipynb")
    assert safe(err)


def test_an_id_is_still_an_id_and_a_file_may_have_any_name(book: Path, capsys: pytest.CaptureFixture[str]) -> None:
    renamed = book.rename(book.with_name("research-short"))
    assert "owls" in show(capsys, str(renamed))[1]
    code, _, err = show(capsys, "research-long")
    assert code == 1 and "There is no journal" in err
    code, _, err = show(capsys, "research-long", "--cell", "1")
    assert code == 1 and "--cell is for notebook files" in err


def test_without_nbformat_it_says_what_to_install(book: Path, capsys: pytest.CaptureFixture[str]) -> None:
    program = (
        "import sys; sys.modules['nbformat'] = None\nfrom romancy_nb.cli import main\n"
        f"sys.exit(main(['show', {str(book)!r}]))"
    )
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run([sys.executable, "-c", program], env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 1 and 'pip install "romancy_nb[demo]"' in " ".join(done.stderr.split())
