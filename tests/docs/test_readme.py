"""README.md names what there is to type: every command of the command line, every subcommand of ``%romancy``."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from romancy_nb import cli
from romancy_nb.notebook.commands import COMMANDS

README = (Path(__file__).parents[2] / "README.md").read_text("utf-8")


def table_of(title: str) -> str:
    """Return the first cells of the tables under a heading."""
    part = README.partition(f"\n## {title}\n")[2].partition("\n## ")[0]
    return "\n".join(line.split(" | ")[0] for line in part.splitlines() if line.startswith("|"))


def test_every_command_of_the_command_line_is_in_its_table(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        cli.main(["--help"])
    names = re.findall(r"^ {4}([a-z]+)\b", capsys.readouterr().out, re.MULTILINE)
    assert {"demo", "ls", "run"} <= set(names)
    listed = table_of("Command line")
    assert [name for name in names if f"`romancy-nb {name}" not in listed] == []


def test_every_subcommand_of_the_magic_is_in_its_table() -> None:
    listed = table_of("What to type")
    assert [name for name in COMMANDS if f"%romancy {name}" not in listed] == []
