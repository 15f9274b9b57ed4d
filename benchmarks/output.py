"""What it costs that output is captured: an activity that prints nothing, one that prints a line, and a print by itself."""

from __future__ import annotations

import contextlib
import io
import os
import shutil
from contextvars import copy_context

from side_by_side import folder, ratio, seconds, show

STEPS, ROUNDS = 200, 7


def silent_attempts() -> None:
    """What the dispatcher does for output around an attempt that puts out nothing."""
    from romancy_nb.runtime import figures
    from romancy_nb.runtime.capture import CAPTURE, Capture

    for _ in range(STEPS):
        capture = Capture(None, True, "step")
        CAPTURE.set(capture)
        figures.separate()
        figures.collect(capture)
        capture.finish()


def main() -> None:
    where = folder()
    os.environ["ROMANCY_JOURNAL"] = str(where / "journal.duckdb")
    import romancy_nb as rn

    @rn.activity
    def quiet(number: int) -> int:
        return number + 1

    @rn.activity
    def talks(number: int) -> int:
        print("a line of output from step", number)
        return number + 1

    @rn.workflow
    def walk(name: str, steps: int, aloud: bool) -> int:
        number = 0
        for _ in range(steps):
            number = talks(number) if aloud else quiet(number)
        return number

    def printing() -> None:
        for number in range(STEPS):
            print("a line of output from step", number)

    with contextlib.redirect_stdout(io.StringIO()):
        walk("warm", 5, True)
        bare = [seconds(printing) / STEPS]
        alone, silent, aloud = [], [], []
        for turn in range(ROUNDS):
            alone.append(seconds(lambda: copy_context().run(silent_attempts)) / STEPS)
            silent.append(seconds(lambda turn=turn: walk(str(turn), STEPS, False)) / STEPS)
            aloud.append(seconds(lambda turn=turn: walk(str(turn), STEPS, True)) / STEPS)
            bare.append(seconds(printing) / STEPS)
    print(f"the capture of output ({STEPS} steps, {ROUNDS} rounds): python benchmarks/output.py")
    cost = show("capturing an activity that prints nothing", alone, "µs", 1e6)
    quiet_step = show("a step that prints nothing", silent)
    show("a step that prints a line", aloud)
    show("a print outside activities", bare, "µs", 1e6)
    ratio("ms for an activity that prints nothing", cost * 1e3, "<= 0.2")
    ratio("share of the step, in %", 100 * cost / quiet_step, "small")
    rn.disconnect()
    shutil.rmtree(where)


if __name__ == "__main__":
    main()
