"""The magics as line magics: ``%romancy_workflow --run 3`` on a cell's first line, over ordinary Python (N2).

Linters, formatters and type-checkers leave out a cell that begins with ``%%`` as a whole; of this form they leave out one
line. Before IPython takes a cell apart, its first line that is neither blank nor a comment is looked at: one of our line
magics there becomes the cell magic of that name, with the lines above it put below it, so that every line keeps its number.
"""

from __future__ import annotations

import re
from typing import Any

from IPython.core.error import UsageError

__all__ = ["LineForm", "install", "misplaced", "remove"]

_FIRST = re.compile(r"%(\w+)(?=\s|$)")


class LineForm:
    """Turns a cell with one of our line magics on top into that cell magic.

    Args:
        shell: the IPython shell; which names are ours is looked up at each cell.
    """

    def __init__(self, shell: Any) -> None:
        self._shell = shell

    def __call__(self, lines: list[str]) -> list[str]:
        """Return the cell's *lines*, each with its line end, as IPython shall see them."""
        for number, line in enumerate(lines):
            text = line.strip()
            if not text or text.startswith("#"):
                continue
            found = _FIRST.match(line)
            if found is None or not self._is_ours(found[1]):
                break
            return [f"%{line if line.endswith(chr(10)) else line + chr(10)}", *lines[:number], *lines[number + 1 :]]
        return lines

    def _is_ours(self, name: str) -> bool:
        magic = self._shell.magics_manager.magics["cell"].get(name)
        return type(getattr(magic, "__self__", None)).__module__.startswith("romancy_nb.")


def install(shell: Any) -> None:
    """Have *shell* know the line forms. Doing it twice is harmless."""
    remove(shell)
    shell.input_transformer_manager.cleanup_transforms.append(LineForm(shell))


def remove(shell: Any) -> None:
    """Take them away again."""
    transforms = shell.input_transformer_manager.cleanup_transforms
    transforms[:] = [each for each in transforms if not isinstance(each, LineForm)]


def misplaced(name: str) -> UsageError:
    """Return the error for a line form that is not on top of its cell."""
    return UsageError(
        f"%{name} makes the whole cell {'activities' if 'activity' in name else 'workflows'} and has to stand above its code: "
        f"on the cell's first line, with nothing but comments before it. Or write %%{name} there."
    )
