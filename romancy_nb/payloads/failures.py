"""Errors as documents, and back to errors of the same class.

``{"type": "builtins.ValueError", "message": "no such item", "args": ["no such item"], "traceback": "…"}``, and where
they say something: ``attributes``, ``notes``, ``cause``, ``context``, ``suppress_context``, ``exceptions``, ``lost`` (what
could not be journaled), ``stand_in`` (it arrives as ActivityError, E3).

Both directions must never fail: an error that cannot be told would hide what went wrong.
"""

from __future__ import annotations

import sysconfig
import traceback
import types
from pathlib import Path
from typing import Any, Final

from romancy_nb.errors import ActivityError, CannotRestore
from romancy_nb.payloads import registry
from romancy_nb.payloads.payload import Payload, is_forgotten
from romancy_nb.payloads.text import NotText, deep_recursion, dumps, loads
from romancy_nb.payloads.tree import Reader, Unkept, Writer, type_name

__all__ = ["add_note", "decode_failure", "describe", "encode_failure", "rebuild"]

_LONGEST: Final = 8_000  # characters of a traceback, the last ones
_LONGEST_MESSAGE: Final = 100_000
_DEEPEST: Final = 12  # causes of causes
_MANY: Final = 1_000  # members of groups, in all
_TRACEBACK: Final = "__romancy_traceback__"
_NOT_ATTRIBUTES: Final = frozenset({"args", "exceptions", "message", _TRACEBACK})
_QUIET: Final = frozenset({"obj", "name_from"})  # what the interpreter adds for its own hints
_SELF: Final = str(Path(__file__).resolve().parent.parent)
_LIBRARY: Final = Path(sysconfig.get_path("stdlib"))
_HIDDEN: Final = (
    _SELF + "/",
    _SELF + "\\",
    str(_LIBRARY / "asyncio"),
    str(_LIBRARY / "concurrent"),
    str(_LIBRARY / "threading.py"),
)


def encode_failure(error: BaseException) -> Payload:
    """Return *error* as it is journaled. Never raises.

    What is not an ``Exception``, and StopIteration, is marked to arrive as an ActivityError (E3).

    Example::

        encode_failure(KeyError("a")).text  # '{"type":"builtins.KeyError","message":"\\'a\\'","args":["a"]}'
    """
    stand_in = not isinstance(error, Exception) or isinstance(error, (StopIteration, StopAsyncIteration))
    for careful in (False, True):
        try:
            with deep_recursion():
                out = Writer(careful)
                document = describe(error, out)
                if stand_in:
                    document["stand_in"] = True
                return Payload(dumps(document), tuple(out.parts))
        except NotText:
            continue  # a text with lone surrogates somewhere in it
        except Exception:
            break
    bare = {
        "type": _clean(registry.class_name(type(error))),
        "message": _clean(_text(error)),
        "args": [],
        "lost": ["args"],
    }
    return Payload(dumps({**bare, "stand_in": True} if stand_in else bare))


def decode_failure(payload: Payload) -> BaseException:
    """Return the error that ``encode_failure`` wrote: of its own class if that is loaded here, else an ActivityError.

    ``__romancy_traceback__`` holds the recorded traceback as text. What could not be journaled is named in a note.

    Raises:
        CannotRestore: *payload* holds no error.

    Example::

        decode_failure(encode_failure(KeyError("a")))  # KeyError('a')
    """
    if is_forgotten(payload.text):
        raise CannotRestore("This error was forgotten on request (rn.forget).")
    try:
        document = loads(payload.text)
        if type(document) is not dict or not isinstance(document.get("type"), str):
            raise ValueError("it is not the record of an error")
        with deep_recursion():
            return rebuild(document, Reader(payload.parts))
    except Exception as error:
        raise CannotRestore(f"An error cannot be restored from the journal: {error}.") from error


# -- to documents ------------------------------------------------------------------------------------------------------


def describe(error: BaseException, out: Writer) -> dict[str, Any]:
    """Return the document of *error*, with everything that hangs on it. Raises Unkept when it stands in itself."""
    document = _Telling(out).tell(error)
    if document is None:
        raise Unkept(error, "refers to itself, or to too many others", "Refer to it by its text.")
    return document


class _Telling:
    """Writes one error and those that it refers to, but none inside itself: that would never end."""

    def __init__(self, out: Writer) -> None:
        self.out = out

    def tell(self, error: BaseException) -> dict[str, Any] | None:
        telling = self.out.telling
        if id(error) in telling or len(telling) > _DEEPEST or self.out.errors > _MANY:
            return None
        self.out.errors += 1
        telling.add(id(error))
        try:
            return self._document(error)
        finally:
            telling.discard(id(error))

    def _document(self, error: BaseException) -> dict[str, Any]:
        lost: list[str] = []
        document: dict[str, Any] = {"type": registry.class_name(type(error)), "message": self.kept_text(_text(error))}
        document["args"] = self.arguments(error, lost)
        attributes = self.attributes(error, lost)
        if attributes:
            document["attributes"] = attributes
        notes = _held(error, "__notes__")
        if isinstance(notes, (list, tuple)) and notes:
            document["notes"] = [self.kept_text(note) for note in notes if isinstance(note, str)]
        if isinstance(error, BaseExceptionGroup):
            document["message"] = self.kept_text(str(error.message))
            document["exceptions"] = [told for each in error.exceptions if (told := self.tell(each))]
            if len(document["exceptions"]) < len(error.exceptions):
                lost.append(f"{len(error.exceptions) - len(document['exceptions'])} members")
        if error.__cause__ is not None and (cause := self.tell(error.__cause__)):
            document["cause"] = cause
        if error.__context__ is error.__cause__ and "cause" in document:
            document["context"] = "cause"  # `raise ... from error`: once is enough
        elif error.__context__ is not None and (context := self.tell(error.__context__)):
            document["context"] = context
        if error.__suppress_context__:
            document["suppress_context"] = True
        if lost:
            document["lost"] = lost
        recorded = _traceback(error)
        if recorded:
            document["traceback"] = self.kept_text(recorded)
        return document

    def kept_text(self, text: str) -> Any:
        return self.out.any(text)

    def arguments(self, error: BaseException, lost: list[str]) -> list[Any]:
        if isinstance(error, BaseExceptionGroup):
            return []  # the message and the members say it
        kept = []
        for position, argument in enumerate(_args(error)):
            fits, document = self.out.attempt(argument)
            if not fits:
                lost.append(f"args[{position}] ({type_name(argument)})")
                document = self.kept_text(_repr(argument))
            kept.append(document)
        return kept

    def attributes(self, error: BaseException, lost: list[str]) -> dict[str, Any]:
        kept = {}
        for name, value in _attributes(error).items():
            fits, document = self.out.attempt(value)
            if fits:
                kept[name] = document
            elif name not in _QUIET:
                lost.append(f".{name} ({type_name(value)})")
        return kept


def _held(error: BaseException, name: str) -> Any:
    """Return an attribute that Python or we keep with an error, past a ``__getattr__`` of the user's; None: there is none."""
    try:
        return object.__getattribute__(error, name)
    except Exception:
        return None


def _args(error: BaseException) -> tuple[Any, ...]:
    held: Any = error.args
    return held if isinstance(held, tuple) else ()


def _attributes(error: BaseException) -> dict[str, Any]:
    """What an error carries beside its arguments: the members of its C structure, its slots, its ``__dict__``."""
    found: dict[str, Any] = {}
    for cls in type(error).__mro__:
        for name, member in vars(cls).items():
            if isinstance(member, (types.MemberDescriptorType, types.GetSetDescriptorType)) and _is_attribute(name):
                try:
                    value = member.__get__(error)
                except Exception:
                    continue
                if value is not None or "__slots__" in vars(cls):  # None in a slot of a class in Python was put there
                    found[name] = value
    held = _held(error, "__dict__")
    if isinstance(held, dict):
        found.update({name: value for name, value in held.items() if isinstance(name, str) and _is_attribute(name)})
    return found


def _is_attribute(name: str) -> bool:
    return name not in _NOT_ATTRIBUTES and not (name.startswith("__") and name.endswith("__"))


def _text(error: BaseException) -> str:
    try:
        text = str(error)
    except Exception as failed:
        return f"<str() of this {type(error).__qualname__} raised {type(failed).__qualname__}>"
    return text if len(text) <= _LONGEST_MESSAGE else text[:_LONGEST_MESSAGE] + "…"


def _repr(value: Any) -> str:
    try:
        return f"{value!r:.200}"
    except Exception:
        return f"<{type_name(value)}>"


def _clean(text: str) -> str:
    return text.encode("utf-8", "backslashreplace").decode()


def _traceback(error: BaseException) -> str:
    """Return the traceback of *error* as text, without our own frames; what was recorded of it earlier comes first."""
    recorded = _held(error, _TRACEBACK)
    try:
        frames = [
            frame for frame in traceback.extract_tb(error.__traceback__) if not frame.filename.startswith(_HIDDEN)
        ]
        text = "".join(traceback.format_list(frames))
    except Exception:
        text = ""
    if text:
        text = f"Traceback (most recent call last):\n{text}{''.join(_last_lines(error))}"
    if isinstance(recorded, str) and recorded and recorded != text:
        text = f"{recorded}\nraised again:\n{text}" if text else recorded
    return text if len(text) <= _LONGEST else "…" + text[-_LONGEST:]


def _last_lines(error: BaseException) -> list[str]:
    try:
        return list(traceback.TracebackException(type(error), error, None, compact=True).format_exception_only())
    except Exception:
        return [f"{type(error).__qualname__}\n"]


# -- back to errors ----------------------------------------------------------------------------------------------------


def rebuild(document: dict[str, Any], source: Reader) -> BaseException:
    """Return the error of *document*."""
    name = document["type"]
    lost = list(document.get("lost", ()))
    message = source.any(document.get("message", ""))
    found = None if document.get("stand_in") else _of_its_class(name, document, source, lost)
    error = found if found is not None else ActivityError(message, original=name)
    for note in document.get("notes", ()):
        add_note(error, source.any(note))
    if found is not None:
        _check_text(found, message)
    if lost:
        note = f"Not journaled, and absent here: {', '.join(lost)}"
        if note not in _notes(error):
            add_note(error, note)
    if "traceback" in document:
        _try_set(error, _TRACEBACK, source.any(document["traceback"]))
    if "cause" in document:
        _try_set(error, "__cause__", rebuild(document["cause"], source))
    if "context" in document:
        context = document["context"]
        _try_set(error, "__context__", error.__cause__ if context == "cause" else rebuild(context, source))
    _try_set(error, "__suppress_context__", bool(document.get("suppress_context")))
    return error


def _of_its_class(name: str, document: dict[str, Any], source: Reader, lost: list[str]) -> BaseException | None:
    """Make an error of the class called *name*, without its ``__init__``; None when that cannot be."""
    cls = registry.find(name)
    if not (isinstance(cls, type) and issubclass(cls, BaseException)):
        return None
    try:
        error = _bare(cls, document, source)
        if error is None:
            return None
        if not isinstance(error, BaseExceptionGroup):
            arguments = [_or_lost(argument, source, f"args[{i}]", lost) for i, argument in enumerate(document["args"])]
            object.__setattr__(error, "args", tuple(arguments))  # past a __setattr__ of the user's, of frozen ones say
        for key, held in document.get("attributes", {}).items():
            missing = len(lost)
            value = _or_lost(held, source, f".{key}", lost)
            if len(lost) == missing:
                _try_set(error, key, value)
    except Exception:
        return None
    return error


def _bare(cls: type[BaseException], document: dict[str, Any], source: Reader) -> BaseException | None:
    # the first class in C makes the object: a __new__ in Python is the user's code, as __init__ is
    base = next(each for each in cls.__mro__ if "__new__" in vars(each) and not _is_python(vars(each)["__new__"]))
    make: Any = vars(base)["__new__"]
    if issubclass(cls, BaseExceptionGroup):
        members = [rebuild(each, source) for each in document["exceptions"]]
        group: BaseException = make(cls, source.any(document["message"]), members)
        return group
    made = make(cls)
    return made if type(made) is cls else None


def _is_python(function: Any) -> bool:
    return isinstance(getattr(function, "__func__", function), types.FunctionType)


def _or_lost(document: Any, source: Reader, where: str, lost: list[str]) -> Any:
    try:
        return source.any(document)
    except Exception as error:
        lost.append(f"{where} ({error})")
        return None


def _check_text(error: BaseException, message: str) -> None:
    """An error whose ``str()`` needs what was lost would say nothing; let its recorded message stand in a note."""
    try:
        str(error)
    except Exception:
        note = f"Its message was: {message}"
        if note not in _notes(error):  # it has been told on once already
            add_note(error, note)


def _notes(error: BaseException) -> list[str]:
    """Return the notes of an error, whatever its class makes of attributes."""
    held = _held(error, "__notes__")
    return held if isinstance(held, list) else []


def add_note(error: BaseException, note: str) -> None:
    """Add a note, also to an error that takes no attributes (a frozen data class)."""
    _try_set(error, "__notes__", [*_notes(error), note])


def _try_set(error: BaseException, name: str, value: Any) -> None:
    try:
        object.__setattr__(error, name, value)
    except Exception:
        held = _held(error, "__dict__")
        if isinstance(held, dict):
            held[name] = value
