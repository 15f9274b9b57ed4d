"""A strict resume whose code no longer fits its history is stuck: where they part, what was edited, the ways on (C6, R7)."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
import served

import romancy_nb as rn

ROOT = Path(__file__).parents[2]

PROGRAM = """
import os, sys
import romancy_nb as rn

@rn.activity
def reserve(item: str) -> str:
    with open("effects", "a") as file: file.write("reserve\\n")
    return item

@rn.activity
def charge(amount: int) -> int:
    with open("effects", "a") as file: file.write(f"charge {amount}\\n")
    if os.environ.get("KILL"):
        os.kill(os.getpid(), 9)
    return amount

AMOUNT = 5
@rn.workflow
def order(item: str) -> int:
    reserve(item)
    return charge(AMOUNT)
"""

CALL = "\nprint(order.run('lamp', instance_id='order-1'))\n"
ADOPT = """
rn.connect(adopt=True)
try:
    print(rn.instance("order-1").result(20))
except Exception as error:
    print(type(error).__name__, error)
print(rn.instance("order-1").status, rn.instance("order-1").run)
"""


def execute(room: Path, program: str, **more: str) -> subprocess.CompletedProcess[str]:
    (room / "program.py").write_text(program)
    return served.program(room / "program.py", ROMANCY_JOURNAL=str(room / "journal.duckdb"), **more)


@pytest.fixture
def killed(tmp_path: Path) -> Path:
    """A project whose process was killed in ``charge(5)``."""
    assert execute(tmp_path, PROGRAM + CALL, KILL="1").returncode == -9
    return tmp_path


def effects(room: Path) -> list[str]:
    return (room / "effects").read_text().split("\n")[:-1]


def test_a_strict_resume_of_edited_code_that_parts_is_stuck_and_says_where_what_and_how_on(killed: Path) -> None:
    edited = PROGRAM.replace("AMOUNT = 5", "AMOUNT = 6")
    told = execute(killed, edited + ADOPT).stdout
    assert "RunStuck Instance order-1 is stuck: the code of order no longer fits its history." in told
    assert 'History holds activity charge with {"amount":5} (call 0:1)' in told
    assert 'the code asks for activity charge with {"amount":6} (call 0:1)' in told
    assert "Edited since the run began: AMOUNT changed" in told
    assert "Put the code back" in told and "a new run takes over the results that are unchanged" in told
    assert "fork" not in told
    assert told.endswith("stuck 1\n")
    assert effects(killed) == ["reserve", "charge 5"], "nothing was executed"

    later = execute(killed, edited + ADOPT.replace("adopt=True", "")).stdout
    assert "AMOUNT changed" in later and "activity charge with" in later, "who asks later is told the same"


def test_with_the_code_put_back_the_same_run_goes_on(killed: Path) -> None:
    execute(killed, PROGRAM.replace("AMOUNT = 5", "AMOUNT = 6") + ADOPT)
    back = execute(
        killed, PROGRAM + '\nh = rn.instance("order-1").resume(strict=True)\nprint(h.result(20), h.run, h.status)\n'
    )
    assert back.stdout == "5 1 completed\n", back
    assert effects(killed) == ["reserve", "charge 5", "charge 5"]


def test_called_with_the_new_code_a_new_run_keeps_what_is_unchanged(killed: Path) -> None:
    edited = PROGRAM.replace("AMOUNT = 5", "AMOUNT = 6")
    execute(killed, edited + ADOPT)
    assert execute(killed, edited + CALL).stdout == "6\n"
    assert effects(killed) == ["reserve", "charge 5", "charge 6"]


def test_a_strict_resume_of_edited_code_that_fits_goes_on_in_the_same_run(killed: Path) -> None:
    edited = PROGRAM.replace("return charge(AMOUNT)", "return charge(AMOUNT) + 100")
    assert execute(killed, edited + ADOPT).stdout == "105\ncompleted 1\n"
    assert effects(killed) == ["reserve", "charge 5", "charge 5"]


def test_a_strict_resume_after_a_mended_slip_goes_on_in_the_same_run(journal: Path) -> None:
    done: list[str] = []

    @rn.activity(name="step")
    def step(number: int) -> int:
        done.append(f"step {number}")
        return number

    def body() -> int:
        return step(1) // 0

    from romancy_nb.runtime import cellcall

    flow = rn.workflow(name="flow")(body)
    with pytest.MonkeyPatch.context() as patch:
        start = cellcall.start_of

        def attended(*args: object, **options: object) -> object:
            made = start(*args, **options)  # type: ignore[arg-type]
            made.attached = True
            return made

        patch.setattr(cellcall, "start_of", attended)
        with pytest.raises(ZeroDivisionError):
            flow.run(instance_id="flow-1")

    def mended() -> int:
        return step(1) + step(2) + rn.side_effect(lambda: 3)

    rn.workflow(name="flow")(mended)
    handle = rn.instance("flow-1")
    assert handle.status == "paused" and handle.check()
    assert handle.resume(strict=True).result(20) == 6
    assert (handle.run, done) == (1, ["step 1", "step 2"])
    assert rn.check(finished=True), "and what it did then is history that fits as any other"
