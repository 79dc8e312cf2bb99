"""Structured Text of IEC 61131-3, translated into Python: as much of the language as `docs/plc.md` uses.

Numbers and strings are checked against their declared types at each assignment, so an overflow is an error here and
not a surprise on a PLC. What is not known to this translator is refused.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any, Final

TOKEN: Final = re.compile(
    r"(?P<string>'(?:[^'$]|\$.)*')|(?P<time>T\#\d+MS)|(?P<number>\d+)|(?P<name>[A-Za-z_]\w*)"
    r"|(?P<mark>:=|=>|<>|<=|>=|\.\.|[-+*()\[\];:,.<>=])"
)
WORDS: Final = {"AND": "and", "OR": "or", "NOT": "not", "MOD": "%", "TRUE": "True", "FALSE": "False"}
MARKS: Final = {"=": "==", "<>": "!="}
RANGES: Final = {"UINT": (0, 2**16 - 1), "INT": (-(2**15), 2**15 - 1), "UDINT": (0, 2**32 - 1)}
SECTIONS: Final = ("VAR_INPUT", "VAR_OUTPUT", "VAR_IN_OUT", "VAR")


class Timer:
    """The on-delay timer TON, by a clock that the test moves."""

    now_ms = 0

    def __init__(self) -> None:
        self.Q = False
        self._since_ms: int | None = None

    def __call__(self, *, IN: bool, PT: int) -> None:  # noqa: N803 - the standard's names
        if not IN:
            self._since_ms = None
        elif self._since_ms is None:
            self._since_ms = self.now_ms
        self.Q = self._since_ms is not None and self.now_ms - self._since_ms >= PT


class Checked(SimpleNamespace):
    """Variables of declared types. Raises OverflowError and TypeError for what does not fit."""

    def __init__(self, types: dict[str, str], values: dict[str, Any]) -> None:
        object.__setattr__(self, "_types", types)
        super().__init__(**values)

    def __setattr__(self, name: str, value: Any) -> None:
        self.__dict__[name] = fitting(self._types[name], value)


def fitting(kind: str, value: Any) -> Any:
    if kind in RANGES:
        least, most = RANGES[kind]
        if isinstance(value, bool) or not isinstance(value, int):
            raise TypeError(f"{value!r} is no {kind}")
        if not least <= value <= most:
            raise OverflowError(f"{value} does not fit {kind}")
    elif kind == "BOOL" and not isinstance(value, bool):
        raise TypeError(f"{value!r} is no BOOL")
    elif kind.startswith("STRING") and len(value) > int(kind[6:]):
        raise OverflowError(f"{value!r} does not fit {kind}")
    return value


STANDARD: Final[dict[str, Callable[..., Any]]] = {
    "LEN": len,
    "LEFT": lambda text, count: text[:count],
    "RIGHT": lambda text, count: text[-count:],
    "MID": lambda text, count, position: text[position - 1 : position - 1 + count],
    "FIND": lambda text, part: text.find(part) + 1,
    "CONCAT": lambda first, second: first + second,
    "INT_TO_UDINT": lambda number: fitting("UDINT", number),
    "UDINT_TO_UINT": lambda number: fitting("UINT", number),
    "UDINT_TO_STRING": str,
    "UINT_TO_STRING": str,
}


class Program:
    """Types, functions and function blocks of one text. Raises SyntaxError for what this translator does not know."""

    def __init__(self, text: str) -> None:
        self._tokens = list(_tokens(text))
        self._at = 0
        self._structures: dict[str, dict[str, tuple[str, Any]]] = {}
        self._lines: list[str] = []
        self._local: set[str] = set()
        self.functions: dict[str, Callable[..., Any]] = {}
        self._world: dict[str, Any] = dict(STANDARD)
        while self._at < len(self._tokens):
            self._read_unit()

    def make(self, kind: str) -> Any:
        """A new variable of this type with its initial value."""
        if kind.startswith("ARRAY"):
            count, _, element = kind[5:].partition(" ")
            return [self.make(element) for _ in range(int(count))]
        if kind in self._structures:
            fields = self._structures[kind]
            values = {name: self.make(of) if value is None else value for name, (of, value) in fields.items()}
            return Checked({name: of for name, (of, _) in fields.items()}, values)
        if kind == "TON":
            return Timer()
        return "" if kind.startswith("STRING") else False if kind == "BOOL" else 0

    # --- reading ---

    def _peek(self) -> str:
        return self._tokens[self._at]

    def _take(self, *expected: str) -> str:
        token = self._tokens[self._at]
        if expected and token not in expected:
            raise SyntaxError(f"{' or '.join(expected)} is expected before {' '.join(self._tokens[self._at :][:8])}")
        self._at += 1
        return token

    def _read_unit(self) -> None:
        unit = self._take("TYPE", "FUNCTION", "FUNCTION_BLOCK")
        name = self._take()
        if unit == "TYPE":
            self._take(":")
            self._take("STRUCT")
            self._structures[name] = self._read_declarations("END_STRUCT")
            self._take("END_TYPE")
            return
        result = None
        if unit == "FUNCTION":
            self._take(":")
            result = self._read_type()
        sections: dict[str, dict[str, tuple[str, Any]]] = {section: {} for section in SECTIONS}
        while self._peek() in SECTIONS:
            sections[self._take()].update(self._read_declarations("END_VAR"))
        self._local = {each for section in sections.values() for each in section} | {name}
        self._lines = ["def body(L):"]
        self._read_statements(1, f"END_{unit}")
        self._take(f"END_{unit}")
        scope = dict(self._world)
        exec("\n".join(self._lines), scope)  # the text is this repository's own
        callable_ = _Callable(self, name, result, sections, scope["body"])
        self.functions[name] = self._world[name] = callable_

    def _read_declarations(self, end: str) -> dict[str, tuple[str, Any]]:
        declared: dict[str, tuple[str, Any]] = {}
        while self._peek() != end:
            name = self._take()
            self._take(":")
            kind, value = self._read_type(), None
            if self._peek() == ":=":
                self._take()
                value = int(self._take())
            self._take(";")
            declared[name] = kind, value
        self._take(end)
        return declared

    def _read_type(self) -> str:
        kind = self._take()
        if kind == "STRING":
            self._take("(")
            kind += self._take()
            self._take(")")
        elif kind == "ARRAY":
            self._take("[")
            self._take("0")
            self._take("..")
            kind += f"{int(self._take()) + 1} "
            self._take("]")
            self._take("OF")
            kind += self._read_type()
        return kind

    def _read_statements(self, depth: int, *ends: str) -> None:
        self._line(depth, "pass")
        while self._peek() not in ends and not (self._peek().isdigit() and "END_CASE" in ends):
            word = self._peek()
            if word in ("IF", "WHILE", "CASE"):
                getattr(self, f"_read_{word.lower()}")(depth)
            elif word in ("RETURN", "EXIT"):
                self._take()
                self._line(depth, "return" if word == "RETURN" else "break")
            else:
                self._read_assignment(depth)
            self._take(";")

    def _read_if(self, depth: int) -> None:
        word = "if"
        while self._peek() in ("IF", "ELSIF"):
            self._take()
            self._line(depth, f"{word} {self._read_expression('THEN')}:")
            self._take("THEN")
            self._read_statements(depth + 1, "ELSIF", "ELSE", "END_IF")
            word = "elif"
        self._read_else(depth, "END_IF")

    def _read_while(self, depth: int) -> None:
        self._take("WHILE")
        self._line(depth, f"while {self._read_expression('DO')}:")
        self._take("DO")
        self._read_statements(depth + 1, "END_WHILE")
        self._take("END_WHILE")

    def _read_case(self, depth: int) -> None:
        self._take("CASE")
        subject, word = self._read_expression("OF"), "if"
        self._take("OF")
        while self._peek().isdigit():
            self._line(depth, f"{word} {subject} == {self._take()}:")
            self._take(":")
            self._read_statements(depth + 1, "ELSE", "END_CASE")
            word = "elif"
        self._read_else(depth, "END_CASE")

    def _read_else(self, depth: int, end: str) -> None:
        if self._peek() == "ELSE":
            self._take()
            self._line(depth, "else:")
            self._read_statements(depth + 1, end)
        self._take(end)

    def _read_assignment(self, depth: int) -> None:
        left = self._read_expression(":=", ";")
        if self._peek() == ":=":
            self._take()
            left = f"{left} = {self._read_expression(';')}"
        self._line(depth, left)

    def _read_expression(self, *ends: str) -> str:
        """Python for the tokens up to one of `ends` outside brackets."""
        words: list[str] = []
        depth = 0
        while depth or self._peek() not in ends:
            token = self._take()
            depth += (token in "([") - (token in ")]")
            after = self._peek()
            if after == ":=" and depth:
                words.append(f"{token}=")
                self._take()
            elif after == "=>":
                self._take()
                words.append(f"{token}=(L, {self._take()!r})")
            else:
                words.append(self._word(token, words))
        return " ".join(words)

    def _word(self, token: str, before: list[str]) -> str:
        if token in WORDS or token in MARKS:
            return WORDS.get(token) or MARKS[token]
        if token.startswith("T#"):
            return token[2:-2]
        is_field = bool(before) and before[-1] == "."
        if token in self._local and not is_field and not (token in self._world and self._peek() == "("):
            return f"L.{token}"
        if re.fullmatch(r"[A-Za-z_]\w*", token) and not is_field and token not in self._world:
            raise SyntaxError(f"{token} was not declared")
        return token

    def _line(self, depth: int, text: str) -> None:
        self._lines.append("    " * depth + text)


class _Callable:
    """A function, or one instance of a function block: its variables then last from call to call."""

    def __init__(self, program: Program, name: str, result: str | None, sections: Any, body: Callable[[Any], None]):
        self._program, self._name, self._result, self._body = program, name, result, body
        self._inputs = {*sections["VAR_INPUT"], *sections["VAR_IN_OUT"]}
        self._outputs = set(sections["VAR_OUTPUT"])
        self._types = {each: kind for section in sections.values() for each, (kind, _) in section.items()}
        self._lasting = self._new() if result is None else None

    def __call__(self, **arguments: Any) -> Any:
        given = {name for name in arguments if name in self._inputs}
        if given != self._inputs or not set(arguments) <= self._inputs | self._outputs:
            raise TypeError(f"{self._name} is called with {sorted(arguments)}")
        local = self._lasting or self._new()
        for name in given:
            setattr(local, name, arguments[name])
        self._body(local)
        for name in self._outputs & set(arguments):
            target, variable = arguments[name]
            setattr(target, variable, getattr(local, name))
        return None if self._result is None else getattr(local, self._name)

    def _new(self) -> Checked:
        types = {**self._types, **({self._name: self._result} if self._result else {})}
        return Checked(types, {name: self._program.make(kind) for name, kind in types.items()})


def _tokens(text: str) -> Iterator[str]:
    text = re.sub(r"\(\*.*?\*\)", " ", text, flags=re.DOTALL)
    at = 0
    while at < len(text):
        if text[at].isspace():
            at += 1
            continue
        match = TOKEN.match(text, at)
        if match is None:
            raise SyntaxError(f"this can't be read: {text[at : at + 40]!r}")
        yield match.group()
        at = match.end()
