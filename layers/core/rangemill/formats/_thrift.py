"""Reading Thrift's compact protocol, which Parquet footers are written in: values, and where they lie."""

from typing import Any, Final

_TRUE, _FALSE, _BYTE, _I16, _I32, _I64, _DOUBLE, _BINARY, _LIST, _SET, _MAP, _STRUCT, _UUID = range(1, 14)
_INTEGERS: Final = frozenset({_I16, _I32, _I64})
_MAX_DEPTH: Final = 64


class ThriftError(ValueError):
    """Bytes that are not Thrift; `position` is where."""

    def __init__(self, problem: str, position: int) -> None:
        super().__init__(f"{problem} at byte {position}")
        self.position = position


class Reader:
    """A position in a document."""

    def __init__(self, data: bytes, position: int = 0) -> None:
        self.data = data
        self.position = position

    def fields(self) -> "list[tuple[int, int, int, Any]]":
        """The fields of the struct here: id, where the value begins, where it ends, the value. Raises `ThriftError`."""
        found: list[tuple[int, int, int, Any]] = []
        last = 0
        while True:
            header = self._byte()
            if header == 0:
                return found
            kind, delta = header & 0x0F, header >> 4
            last = last + delta if delta else self._zigzag()
            start = self.position
            value = kind == _TRUE if kind in (_TRUE, _FALSE) else self._value(kind, 0)
            found.append((last, start, self.position, value))

    def list_header(self) -> tuple[int, int]:
        """Size and element type of the list here."""
        header = self._byte()
        size, kind = header >> 4, header & 0x0F
        if size == 0x0F:
            size = self.varint()
        if size > len(self.data):  # an element takes a byte at least
            raise ThriftError(f"a list of {size} elements", self.position)
        return size, kind

    def varint(self) -> int:
        """An unsigned number."""
        value = shift = 0
        while True:
            byte = self._byte()
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value
            shift += 7
            if shift > 63:
                raise ThriftError("a number longer than 64 bits", self.position)

    def _zigzag(self) -> int:
        value = self.varint()
        return (value >> 1) ^ -(value & 1)

    def _byte(self) -> int:
        if self.position >= len(self.data):
            raise ThriftError("the document ends too early", self.position)
        self.position += 1
        return self.data[self.position - 1]

    def _take(self, size: int) -> bytes:
        end = self.position + size
        if end > len(self.data):
            raise ThriftError("the document ends too early", self.position)
        taken = self.data[self.position : end]
        self.position = end
        return taken

    def _value(self, kind: int, depth: int) -> Any:
        if depth > _MAX_DEPTH:
            raise ThriftError("too many levels", self.position)
        if kind in _INTEGERS:
            return self._zigzag()
        if kind == _BINARY:
            return self._take(self.varint())
        if kind == _STRUCT:
            return self._struct(depth + 1)
        if kind in (_LIST, _SET):
            size, element = self.list_header()
            return [self._element(element, depth + 1) for _ in range(size)]
        if kind == _MAP:
            return self._map(depth)
        sizes = {_BYTE: 1, _DOUBLE: 8, _UUID: 16}
        if kind not in sizes:
            raise ThriftError(f"an unknown type {kind}", self.position)
        return self._take(sizes[kind])

    def _element(self, kind: int, depth: int) -> Any:
        return self._byte() == _TRUE if kind in (_TRUE, _FALSE) else self._value(kind, depth)

    def _map(self, depth: int) -> list[tuple[Any, Any]]:
        size = self.varint()
        if size > len(self.data):
            raise ThriftError(f"a map of {size} entries", self.position)
        if not size:
            return []
        kinds = self._byte()
        return [(self._element(kinds >> 4, depth + 1), self._element(kinds & 0x0F, depth + 1)) for _ in range(size)]

    def _struct(self, depth: int) -> dict[int, Any]:
        found: dict[int, Any] = {}
        last = 0
        while True:
            header = self._byte()
            if header == 0:
                return found
            kind, delta = header & 0x0F, header >> 4
            last = last + delta if delta else self._zigzag()
            found[last] = kind == _TRUE if kind in (_TRUE, _FALSE) else self._value(kind, depth)


def struct_of(data: bytes, position: int) -> tuple[dict[int, Any], int]:
    """The struct at a position, and where it ends. Raises `ThriftError`."""
    reader = Reader(data, position)
    found = {number: value for number, _, _, value in reader.fields()}
    return found, reader.position


def list_header(size: int) -> bytes:
    """The header of a list of structs."""
    return bytes([size << 4 | _STRUCT]) if size < 0x0F else bytes([0xF0 | _STRUCT]) + varint(size)


def varint(value: int) -> bytes:
    """An unsigned number."""
    written = bytearray()
    while value >= 0x80:
        written.append(value & 0x7F | 0x80)
        value >>= 7
    written.append(value)
    return bytes(written)


def zigzag(value: int) -> bytes:
    """A signed number."""
    return varint(value << 1 if value >= 0 else (-value << 1) - 1)
