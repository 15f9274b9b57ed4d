"""What a session may say to the journal's database (S2): DuckDB's own parser and tokenizer decide, not a look at the text.

The journal's tables may be read, also into a table of the user's (``create table mine as from romancy.steps``); what is
refused is a statement whose *target* is in schema ``romancy``, wherever it stands: behind WITH, in a CTE, under EXPLAIN.
"""

from __future__ import annotations

from typing import Final

__all__ = ["refusal"]

_READS: Final = frozenset({"SELECT", "EXPLAIN", "RELATION", "MULTI"})
_WRITES: Final = frozenset({"INSERT", "UPDATE", "DELETE", "MERGE_INTO", "COPY"})
_SHAPES: Final = frozenset({"CREATE", "CREATE_FUNC", "ALTER", "DROP", "VACUUM", "ANALYZE", "PREPARE", "EXECUTE"})
_BEFORE_TARGET: Final = frozenset({"into", "update", "delete", "truncate", "copy", "drop", "alter"})
_BETWEEN: Final = frozenset({"from", "table", "only", "if", "exists", "schema", "view", "index", "into"})
_OURS: Final = "romancy"


def refusal(sql: str) -> str | None:
    """Return why *sql* is not for a session, as the end of a sentence; None: it is.

    Raises:
        duckdb.Error: DuckDB cannot parse it.
    """
    import duckdb

    for statement in duckdb.extract_statements(sql):
        kind = statement.type.name
        if kind not in _READS | _WRITES | _SHAPES:
            return (
                f"does not take {kind.replace('_', ' ')} statements: the engine begins and ends its transaction, together with "
                "the step's record, and everybody uses the same database"
            )
        words = _words(statement.query)
        if kind in _SHAPES:
            # what comes behind AS is read only: a view or a table of the user's over the journal's views
            named = words[: words.index("as")] if kind == "CREATE" and "as" in words else words
            ours = _OURS in named or _writes_to_ours(words)
        else:
            ours = _writes_to_ours(words)
        if ours:
            return (
                f"does not write to the schema `{_OURS}`, which is the journal itself. Its views can be read, and your tables "
                "belong in the default schema or one of your own"
            )
    return None


def _writes_to_ours(words: list[str]) -> bool:
    """Is there a target of a write anywhere in *words* whose name has our schema in it?"""
    for at, word in enumerate(words):
        if word not in _BEFORE_TARGET:
            continue
        name = at + 1
        while name < len(words) and words[name] in _BETWEEN:
            name += 1
        while name < len(words):
            if words[name] == _OURS and words[name + 1 : name + 2] == ["."]:
                return True
            if words[name + 1 : name + 2] != ["."]:
                break
            name += 2
    return False


def _words(sql: str) -> list[str]:
    """Return the words of *sql* in lower case: keywords, names without their quotes, and dots; no comments, no texts."""
    import duckdb

    data = sql.encode()  # the tokenizer counts bytes
    tokens = [(at, kind.name) for at, kind in duckdb.tokenize(sql)]
    ends = [at for at, _ in tokens[1:]] + [len(data)]
    words: list[str] = []
    for (at, kind), end in zip(tokens, ends, strict=True):
        text = data[at:end].decode(errors="replace").strip().casefold()
        if kind in {"string_const", "comment"} or not text:
            continue
        if text.startswith('"'):
            words.append(text[1:-1].replace('""', '"'))
        else:
            words.append(text)
    return words
