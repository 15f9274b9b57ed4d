"""What stands in for our magics between ``import romancy_nb`` and ``%load_ext romancy_nb``.

Who forgets the second line would be told by IPython that there is no such magic, which helps nobody who has just imported
us. A stand-in loads the extension, and the cell is executed.
"""

from __future__ import annotations

from typing import Any, Final

__all__ = ["install", "remove"]

_CELL: Final = ("romancy_activity", "romancy_workflow")
_LINE: Final = ("romancy", *_CELL)


class _Stub:
    """One stand-in."""

    def __init__(self, shell: Any, name: str) -> None:
        self._shell = shell
        self._name = name
        self.__name__ = name
        self.__doc__ = "Load romancy_nb first: %load_ext romancy_nb"

    def __call__(self, line: str, cell: str | None = None) -> Any:
        from IPython.core.error import UsageError

        __tracebackhide__ = True
        self._shell.extension_manager.load_extension("romancy_nb")
        if cell is not None:
            return self._shell.run_cell_magic(self._name, line, cell)
        if self._name == "romancy":
            return self._shell.run_line_magic(self._name, line)
        # what stands below this line is being executed as a plain cell already
        raise UsageError(f"%{self._name}: romancy_nb was not loaded. It is now: run this cell again.")

    # IPython leaves $x and {x} on the line alone for who says so
    _ipython_magic_no_var_expand = True


def install(shell: Any) -> None:
    """Register stand-ins in *shell* for our magics, where the extension is not loaded and nobody has the names."""
    for kind, names in (("cell", _CELL), ("line", _LINE)):
        magics = shell.magics_manager.magics[kind]
        for name in names:
            magics.setdefault(name, _Stub(shell, name))


def remove(shell: Any) -> None:
    """Take them away again."""
    for magics in shell.magics_manager.magics.values():
        for name in _LINE:
            if type(magics.get(name)).__module__ == __name__:
                del magics[name]
