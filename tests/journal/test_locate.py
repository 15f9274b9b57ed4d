"""Where the journal is (D4)."""

from __future__ import annotations

from pathlib import Path

import pytest

from romancy_nb.journal.locate import find_journal, named_journal, thrown_away


def test_the_variable_wins_over_everything(tmp_path: Path) -> None:
    (tmp_path / ".romancy").mkdir()
    found = find_journal(tmp_path, {"ROMANCY_JOURNAL": str(tmp_path / "mine.duckdb")})
    assert found.path == tmp_path / "mine.duckdb"
    assert found.new
    assert "ROMANCY_JOURNAL" in found.why


def test_a_folder_in_the_variable_means_the_file_in_it(tmp_path: Path) -> None:
    assert find_journal(None, {"ROMANCY_JOURNAL": str(tmp_path)}).path == tmp_path / "journal.duckdb"


def test_a_url_in_the_variable_stays_a_url() -> None:
    assert find_journal(None, {"ROMANCY_JOURNAL": "postgresql://h/db"}).path == "postgresql://h/db"


def test_the_nearest_folder_upwards_inside_the_repository(tmp_path: Path) -> None:
    (tmp_path / ".git").mkdir()
    (tmp_path / ".romancy").mkdir()
    (tmp_path / ".romancy" / "journal.duckdb").write_bytes(b"x")
    deep = tmp_path / "a" / "b"
    deep.mkdir(parents=True)
    found = find_journal(deep, {})
    assert (found.path, found.new) == (tmp_path / ".romancy" / "journal.duckdb", False)
    (tmp_path / "a" / ".romancy").mkdir()
    found = find_journal(deep, {})
    assert (found.path, found.new) == (tmp_path / "a" / ".romancy" / "journal.duckdb", True)


def test_nothing_above_the_repository_is_looked_at(tmp_path: Path) -> None:
    (tmp_path / ".romancy").mkdir()
    project = tmp_path / "project"
    (project / ".git").mkdir(parents=True)
    assert find_journal(project, {}).path == project / ".romancy" / "journal.duckdb"


def test_outside_a_repository_only_the_folder_itself_counts(tmp_path: Path) -> None:
    (tmp_path / ".romancy").mkdir()
    folder = tmp_path / "loose"
    folder.mkdir()
    found = find_journal(folder, {})
    assert (found.path, found.new) == (folder / ".romancy" / "journal.duckdb", True)


def test_without_a_notebook_the_working_directory_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert find_journal(None, {"ROMANCY_JOURNAL": "  "}).path == tmp_path / ".romancy" / "journal.duckdb"
    assert not (tmp_path / ".romancy").exists()


@pytest.mark.parametrize(
    ("env", "path", "mounts", "said"),
    [
        ({"COLAB_RELEASE_TAG": "1"}, "/content/.romancy/journal.duckdb", "", "drive.mount"),
        ({"COLAB_RELEASE_TAG": "1"}, "/content/drive/MyDrive/journal.duckdb", "", None),
        ({"BINDER_SERVICE_HOST": "1"}, "/srv/book/x", "", "download the journal"),
        ({"KAGGLE_KERNEL_RUN_TYPE": "Interactive"}, "/tmp/x", "", "/kaggle/working"),
        ({"KAGGLE_KERNEL_RUN_TYPE": "Interactive"}, "/kaggle/working/x", "", None),
        ({}, "/dev/shm/a/x", "d / ext4 rw 0 0\nt /dev/shm tmpfs rw 0 0", "in memory"),
        ({}, "/data/x", "d / ext4 rw 0 0\nt /dev/shm tmpfs rw 0 0", None),
    ],
)
def test_a_disk_that_is_thrown_away_is_named_with_the_remedy(
    env: dict[str, str], path: str, mounts: str, said: str | None
) -> None:
    found = thrown_away(Path(path), env, mounts)
    assert (found is None) if said is None else (found is not None and said in found)


def test_a_cell_that_connects_shows_a_sentence_and_no_password(tmp_path: Path) -> None:
    assert (
        repr(find_journal(tmp_path, {})) == f"Journal {tmp_path / '.romancy' / 'journal.duckdb'} (new in this folder)"
    )
    found = named_journal(str(tmp_path / "other.duckdb"), "given to rn.connect")
    assert repr(found) == f"Journal {tmp_path / 'other.duckdb'} (new, given to rn.connect)"
    (tmp_path / "other.duckdb").touch()
    found = named_journal(str(tmp_path / "other.duckdb"), "given to rn.connect")
    assert repr(found) == f"Journal {tmp_path / 'other.duckdb'} (given to rn.connect)"
    shared = named_journal("postgresql://ada:s3:cret@host:5432/db", "given to rn.connect")
    assert repr(shared) == "Journal postgresql://ada:•••@host:5432/db (given to rn.connect)"
