"""A pickle read as data: no name in it is looked up, nothing in it is called.

A pickle is a program for a small stack machine. Python's own reader runs it: what it names is imported, what it applies
is called. This one walks over the same instructions (`pickletools` knows them) and makes plain values only. A name
stays a `Global`, and applying it makes an `Inert`, except for the few names in `rules`, which are applied by functions
of the caller's that see nothing but such values. It is a loop without recursion, and every length is held against the
bytes that are there.
"""

import pickletools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from io import BytesIO
from typing import Any

from backend.errors import AtelierError

MOST_OPERATIONS = 2_000_000
LONGEST_KEY = 16  # parts of a tuple
LONGEST_NAME = 200  # characters of a global that are kept to be shown

Rule = Callable[[tuple[Any, ...]], Any]


class DamagedPickle(AtelierError):
    """What is wrong, as the end of a sentence that begins with the file's name."""


@dataclass(frozen=True, slots=True)
class Global:
    """A name that the pickle wanted to have imported."""

    name: str


@dataclass(slots=True, eq=False)
class Inert:
    """Stands where Python would have made an object of a foreign class; `state` is what it would have been given."""

    name: str
    state: Any = None


class InertUnpickler:
    """Reads one pickle after the other from a stream. `foreign` collects the names that were not in `rules`."""

    def __init__(self, stream: BytesIO, rules: Mapping[str, Rule], persistent: Rule):
        """`rules` maps full names to what applying them makes; `persistent` gets the parts of a persistent id."""
        self.foreign: set[str] = set()
        self._stream = stream
        self._rules = rules
        self._persistent = persistent
        self._operations = 0
        self._stack: list[Any] = []
        self._below: list[list[Any]] = []
        self._memo: dict[int, Any] = {}

    def read(self) -> Any:
        """The value of the next pickle in the stream. Raises `DamagedPickle`."""
        self._stack, self._below, self._memo = [], [], {}
        try:
            for opcode, argument, _ in pickletools.genops(self._stream):
                self._operations += 1
                if self._operations > MOST_OPERATIONS:
                    raise DamagedPickle(f"is a pickle of more than {MOST_OPERATIONS:,} instructions.")
                if opcode.name == "STOP":
                    break
                self._step(opcode.name, argument)
            return self._stack.pop()
        except (ValueError, IndexError, KeyError, TypeError, OverflowError) as error:
            raise DamagedPickle("is no whole pickle: it is damaged or of another kind.") from error

    def _step(self, name: str, argument: Any) -> None:
        if name in _PUSHES_ARGUMENT:
            self._stack.append(argument)
        elif name in _PUSHES:
            self._stack.append(_PUSHES[name]())
        elif name in _TUPLES:
            parts = [self._stack.pop() for _ in range(_TUPLES[name])]
            self._stack.append(tuple(reversed(parts)))
        else:
            handler = _HANDLERS.get(name)
            if handler is None:
                raise DamagedPickle(f"is a pickle with the instruction {name}, which no model file needs.")
            handler(self, argument)

    def _nothing(self, _: Any) -> None:
        """PROTO and FRAME say how the bytes are laid out, which the instructions themselves say too."""

    def _mark(self, _: Any) -> None:
        self._below.append(self._stack)
        self._stack = []

    def _since_mark(self) -> list[Any]:
        items, self._stack = self._stack, self._below.pop()
        return items

    def _pop(self, _: Any) -> None:
        # Python's own reader takes the mark away where nothing lies above it.
        if self._stack:
            self._stack.pop()
        else:
            self._since_mark()

    def _pop_mark(self, _: Any) -> None:
        self._since_mark()

    def _duplicate(self, _: Any) -> None:
        self._stack.append(self._stack[-1])

    def _memoize(self, _: Any) -> None:
        self._memo[len(self._memo)] = self._stack[-1]

    def _put(self, index: int) -> None:
        self._memo[index] = self._stack[-1]

    def _get(self, index: int) -> None:
        self._stack.append(self._memo[index])

    def _tuple(self, _: Any) -> None:
        items = self._since_mark()
        self._stack.append(tuple(items))

    def _list(self, _: Any) -> None:
        items = self._since_mark()
        self._stack.append(items)

    def _dict(self, _: Any) -> None:
        items = self._since_mark()
        self._stack.append({})
        self._fill(items)

    def _append(self, _: Any) -> None:
        self._extend([self._stack.pop()])

    def _appends(self, _: Any) -> None:
        self._extend(self._since_mark())

    def _extend(self, items: list[Any]) -> None:
        if isinstance(self._stack[-1], list):
            self._stack[-1].extend(items)

    def _set_item(self, _: Any) -> None:
        value, key = self._stack.pop(), self._stack.pop()
        self._fill([key, value])

    def _set_items(self, _: Any) -> None:
        self._fill(self._since_mark())

    def _fill(self, items: list[Any]) -> None:
        target = self._stack[-1]
        if isinstance(target, dict):
            fill(target, zip(items[::2], items[1::2], strict=True))

    def _global(self, argument: str) -> None:
        self._stack.append(Global(argument.replace(" ", ".", 1)))

    def _stack_global(self, _: Any) -> None:
        name, module = self._stack.pop(), self._stack.pop()
        self._stack.append(Global(f"{module}.{name}" if isinstance(module, str) and isinstance(name, str) else ""))

    def _reduce(self, _: Any) -> None:
        arguments, called = self._stack.pop(), self._stack.pop()
        self._stack.append(self.apply(called, arguments))

    def _new_object_with_keywords(self, _: Any) -> None:
        self._stack.pop()
        self._reduce(None)

    def _object(self, _: Any) -> None:
        called, *arguments = self._since_mark()
        self._stack.append(self.apply(called, tuple(arguments)))

    def _instance(self, argument: str) -> None:
        arguments = self._since_mark()
        self._stack.append(self.apply(Global(argument.replace(" ", ".", 1)), tuple(arguments)))

    def _extension(self, code: int) -> None:
        self._stack.append(self.apply(Global(f"extension {code}"), ()))

    def _persistent_text(self, argument: str) -> None:
        self._stack.append(self._persistent((argument,)))

    def _persistent_value(self, _: Any) -> None:
        value = self._stack.pop()
        self._stack.append(self._persistent(value if isinstance(value, tuple) else (value,)))

    def _build(self, _: Any) -> None:
        state = self._stack.pop()
        if isinstance(self._stack[-1], Inert):
            self._stack[-1].state = state

    def apply(self, called: Any, arguments: Any) -> Any:
        """What applying `called` makes: the rule's value where there is a rule, an `Inert` everywhere else."""
        name = called.name if isinstance(called, Global | Inert) else type(called).__name__
        if isinstance(called, Global) and name in self._rules and isinstance(arguments, tuple):
            return self._rules[name](arguments)
        self.foreign.add(name[:LONGEST_NAME])
        return Inert(name[:LONGEST_NAME])


def fill(target: dict[Any, Any], pairs: Any) -> None:
    """Put key-value pairs into `target`, but not those whose key is no plain value. Raises `DamagedPickle` for keys
    that nest: to hash one goes through everything in it, for which a file of a few bytes can make that take for ever.
    """
    for key, value in pairs:
        parts = key if isinstance(key, tuple) else (key,)
        if len(parts) > LONGEST_KEY or any(isinstance(part, tuple) for part in parts):
            raise DamagedPickle("is a pickle with keys that nest, which no model file needs.")
        if all(isinstance(part, str | int | float | bytes | None) for part in parts):
            target[key] = value


_PUSHES_ARGUMENT = frozenset(
    [
        *("INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT"),
        *("STRING", "BINSTRING", "SHORT_BINSTRING", "UNICODE", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8"),
        *("BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BYTEARRAY8"),
    ]
)
# Sets become lists, because nothing is hashed that the file made.
_PUSHES: Mapping[str, Callable[[], Any]] = {
    "NONE": lambda: None,
    "NEWTRUE": lambda: True,
    "NEWFALSE": lambda: False,
    "EMPTY_DICT": dict,
    "EMPTY_LIST": list,
    "EMPTY_SET": list,
    "EMPTY_TUPLE": tuple,
}
_TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}
_HANDLERS: Mapping[str, Callable[[InertUnpickler, Any], None]] = {
    name: getattr(InertUnpickler, method)
    for method, names in {
        "_nothing": "PROTO FRAME",
        "_mark": "MARK",
        "_pop": "POP",
        "_pop_mark": "POP_MARK",
        "_duplicate": "DUP",
        "_memoize": "MEMOIZE",
        "_put": "PUT BINPUT LONG_BINPUT",
        "_get": "GET BINGET LONG_BINGET",
        "_tuple": "TUPLE FROZENSET",
        "_list": "LIST",
        "_dict": "DICT",
        "_append": "APPEND",
        "_appends": "APPENDS ADDITEMS",
        "_set_item": "SETITEM",
        "_set_items": "SETITEMS",
        "_global": "GLOBAL",
        "_stack_global": "STACK_GLOBAL",
        "_reduce": "REDUCE NEWOBJ",
        "_new_object_with_keywords": "NEWOBJ_EX",
        "_object": "OBJ",
        "_instance": "INST",
        "_extension": "EXT1 EXT2 EXT4",
        "_persistent_text": "PERSID",
        "_persistent_value": "BINPERSID",
        "_build": "BUILD",
    }.items()
    for name in names.split()
}
