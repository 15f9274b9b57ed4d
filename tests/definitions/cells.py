"""A notebook in miniature: cells are executed as ipykernel does it, with their source in ``linecache``."""

from __future__ import annotations

import hashlib
import linecache
import textwrap
from typing import Any


class Notebook(dict[str, Any]):
    """The namespace of a notebook."""

    def __init__(self) -> None:
        super().__init__(__name__="__main__")

    def run(self, source: str) -> None:
        """Execute a cell."""
        source = textwrap.dedent(source)
        name = f"/tmp/ipykernel_0/{hashlib.md5(source.encode()).hexdigest()}.py"
        linecache.cache[name] = (len(source), None, source.splitlines(keepends=True), name)
        exec(compile(source, name, "exec"), self)


def notebook(*cells: str) -> Notebook:
    """Return a notebook in which *cells* were run."""
    made = Notebook()
    for source in cells:
        made.run(source)
    return made
