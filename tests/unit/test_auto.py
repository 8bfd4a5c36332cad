"""What `type: auto` takes objects for: bytes first, names second, and one format for all of a job."""

import json

import pytest

from rangemill.archives import foreign
from rangemill.errors import BadRecord, BadRequest
from rangemill.formats import _sniff, auto
from rangemill.formats.base import Sample


def sample(data: bytes, name: str = "s3://b/object", more: int = 0) -> Sample:
    return Sample(name, data, 0, len(data) + more)


ROWS = b"id,name\n" + b"".join(b"%d,x\n" % n for n in range(50))
LINES = b'{"a": 1}\n{"a": [2, {}]}\n\n'
ARRAY = json.dumps([{"a": n} for n in range(9)], indent=1).encode()
EVENTS = json.dumps({"Records": [{"a": n} for n in range(9)]}, indent=1).encode()


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (ROWS, ("csv", ",", True)),
        (ROWS.replace(b",", b"\t"), ("csv", "\t", True)),
        (ROWS.replace(b",", b";"), ("csv", ";", True)),
        (ROWS.replace(b",", b"|"), ("csv", "|", True)),
        (b'a,b\n"one\ntwo",3\n"x,y",4\n', ("csv", ",", True)),
        (b"a;b\n1,5;2,5\n3,5;4,5\n", ("csv", ";", True)),
        (b"1,2\n3,4\n", ("csv", ",", False)),
        (b"x,,y\n1,2,3\n", ("csv", ",", False)),
        (b"x,x\n1,2\n", ("csv", ",", False)),
        (b"\xef\xbb\xbf" + ROWS, ("csv", ",", True)),
        (LINES, ("jsonl", None, None)),
        (b"[1,2]\n[3,4]\n", ("jsonl", None, None)),
        (b'{"a":1}', ("jsonl", None, None)),
        (b"\xef\xbb\xbf" + LINES, ("jsonl", None, None)),
        (ARRAY, ("json", None, None)),
        (b'[{"a":1},{"a":2}]', ("json", None, None)),
        (b"[]", ("json", None, None)),
        (EVENTS, ("json", None, None)),
        (b'{"a":1}{"a":2}\n{"a":\n3}', ("json", None, None)),
        (b"PAR1\x15\x04", ("parquet", None, None)),
        (b"Obj\x01\x04", ("avro", None, None)),
        (b'[{"a":1},{"a":2},{"a"', ("json", None, None)),  # cut off, or broken further on: not text
        (b'[{"a":1},{"a":2},{"a":x},{"a":3}]', ("json", None, None)),
        (ARRAY[:-20], ("json", None, None)),
        (b'{"a": [1, 2', ("json", None, None)),
        (b'{"a": {"b": x, "c": 1}}', ("json", None, None)),
        (b'{"a":1}\n{"a":2}\n{"a"', ("jsonl", None, None)),
        (b'{"a":1}\n{"a":}\n{"a":3}\n', ("jsonl", None, None)),
        (b'{"a":1}, 5\n{"a":2}, 6\n{"a":3}, 7\n', ("csv", ",", False)),
        (b"[1] first\n[2] second\n", ("text", None, None)),
        (b"[[1] first\n[2] second\n", ("text", None, None)),
        (b"[{} x\n", ("text", None, None)),
        (b"just a line\nand another, with a comma\n", ("text", None, None)),
        (b"[2026-11-20] started\n[2026-11-20] done\n", ("text", None, None)),
        (b"{not json}\n{nor this}\n", ("text", None, None)),
        (b"1\n2\n3\n", ("text", None, None)),
        (b"\n", ("text", None, None)),
        (b"caf\xe9\nlatin\n", ("text", None, None)),
        ("a line\n".encode("utf-16"), ("text", None, None)),
        (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", (None, None, None)),
    ],
)
def test_bytes_tell_what_an_object_is(data: bytes, expected: tuple[str | None, str | None, bool | None]) -> None:
    found, note = _sniff.guess(data, True, "s3://b/object")
    assert (found.name, found.options.get("delimiter"), found.options.get("header")) == expected
    assert note is None


@pytest.mark.parametrize(("data", "name"), [(ROWS, "csv"), (LINES * 9, "jsonl"), (ARRAY, "json"), (EVENTS, "json")])
def test_a_sample_that_ends_anywhere_tells_the_same(data: bytes, name: str) -> None:
    for end in range(40, len(data)):
        assert _sniff.guess(data[:end], False, "x")[0].name == name


def test_a_long_first_record_is_still_json() -> None:
    assert _sniff.guess(b'{"a": "' + b"x" * 100_000, False, "x")[0].name == "json"
    assert _sniff.guess(b'[{"a": "' + b"x" * 100_000, False, "x")[0].name == "json"


@pytest.mark.parametrize(
    ("data", "key", "expected", "note"),
    [
        (LINES, "a.csv", "jsonl", "is called .csv, but is jsonl by its first bytes, and is read as that"),
        (ROWS, "a.txt", "csv", "is called .txt, but is csv with delimiter ','"),
        (ROWS, "a.csv.gz", "csv", None),
        (LINES, "A.NDJSON", "jsonl", None),
        (LINES, "a.json", "jsonl", None),
        (ARRAY, "a.json", "json", None),
        (b"PAR1", "a.csv", "parquet", "is called .csv"),
        (b"plain\n", "a.parquet", "text", "is called .parquet, but its first bytes are not; it is read as text"),
        (b"plain\n", "a.jsonl", "text", "it is read as text"),
        (b"one\n1\n2\n", "a.csv", "csv", None),
        (b"one\n1\n2\n", "a.tsv", "csv", None),
        (b"one\n1\n2\n", "a.log", "text", None),
        (b"one\n1\n2\n", "folder.csv/a", "text", None),
    ],
)
def test_bytes_win_over_the_name(data: bytes, key: str, expected: str, note: str | None) -> None:
    found, said = _sniff.guess(data, True, f"s3://b/{key}")
    assert found.name == expected
    assert (note in (said or "")) if note else said is None


def resolved(data: bytes, **options: object) -> auto.Resolved:
    found = auto.resolve([sample(data)], options)
    assert found is not None
    return found


def test_what_was_found_goes_to_the_format_as_its_options() -> None:
    found = resolved(ROWS.replace(b",", b";"))
    assert (found.type, found.options, found.notes) == ("csv", {"delimiter": ";", "header": True}, [])


def test_options_beside_auto_go_to_the_format() -> None:
    found = resolved(ROWS, columns={"id": "VARCHAR"}, header=False)
    assert found.options == {"delimiter": ",", "header": False, "columns": {"id": "VARCHAR"}}
    with pytest.raises(BadRequest, match=r"is jsonl by its first bytes.*unknown field `header`"):
        resolved(LINES, header=True)


def test_a_path_says_that_a_line_of_json_holds_the_records() -> None:
    assert resolved(b'{"Others": [{"a": 1}, {"a": 2}]}').type == "jsonl"
    found = resolved(b'{"Others": [{"a": 1}, {"a": 2}]}', path="Others")
    assert (found.type, found.options) == ("json", {"path": "Others"})


def test_a_first_row_of_data_is_no_header_and_the_job_says_so() -> None:
    found = resolved(b"1,2\n3,4\n")
    assert found.options["header"] is False
    assert "looks like data" in found.notes[0]


@pytest.mark.parametrize(
    ("others", "expected"),
    [
        ([LINES], "is jsonl"),
        ([ROWS.replace(b",", b";")], "delimiter ';'"),
        ([b"\x00\x01"], "is of no known format"),
        ([ROWS, ARRAY], "is json"),
        ([b"some prose\nand more of it\n"], "is text"),
    ],
)
def test_objects_that_differ_are_refused_naming_both(others: list[bytes], expected: str) -> None:
    heads = [sample(ROWS, "s3://b/first"), *(sample(data, f"s3://b/{n}") for n, data in enumerate(others))]
    with pytest.raises(BadRequest, match=r"s3://b/first is csv.*s3://b/\d ") as caught:
        auto.resolve(heads, {})
    assert expected in str(caught.value)


@pytest.mark.parametrize("others", [[b"id,name\n"], [b"\n"], [b"id,name"]])
def test_objects_too_small_to_tell_go_along(others: list[bytes]) -> None:
    for heads in ([ROWS, *others], [*others, ROWS]):
        found = auto.resolve([sample(data) for data in heads], {})
        assert found is not None
        assert (found.type, found.options["delimiter"]) == ("csv", ",")


def test_what_is_of_no_format_is_refused_with_what_to_do() -> None:
    with pytest.raises(BadRecord, match=r"of no format that is known.*`unit: object`"):
        auto.resolve([sample(b"\x89PNG\0\0")], {})


ONE_LINE = json.dumps({"Records": [{"a": n} for n in range(9)], "more": 1}).encode()


@pytest.mark.parametrize(
    ("data", "more", "is_found"),
    [
        (ONE_LINE, 0, True),
        (EVENTS, 0, True),
        (b'{"Records":[]}', 0, True),
        (b'{ "Records" :\n[ {"a": 1}, {"a"', 10**6, True),  # the head of a large object
        (ONE_LINE[:50], 10**6, True),
        (ONE_LINE + b"\n" + ONE_LINE, 0, False),  # JSON lines
        (ONE_LINE + b"\n" + ONE_LINE, 10**6, False),
        (b'{"Records":[1]}', 0, False),
        (b'{"a":1,"Records":[{}]}', 0, False),
        (b'{"Others":[{}]}', 0, False),
    ],
)
def test_the_records_of_a_log_of_events_are_its_elements_and_the_job_says_so(
    data: bytes, more: int, is_found: bool
) -> None:
    found = auto.resolve([sample(data, more=more)], {})
    assert found is not None
    assert found.options.get("path") == ("Records" if is_found else None)
    assert bool(found.notes) == is_found
    chosen = auto.resolve([sample(data, more=more)], {"layout": "values"})
    assert chosen is not None
    assert (chosen.type, chosen.options, chosen.notes) == ("json", {"layout": "values"}, [])


def test_a_line_with_all_records_among_json_lines_is_a_line() -> None:
    lines = sample(ONE_LINE + b"\n" + ONE_LINE + b"\n", "s3://b/lines")
    for heads in ([sample(ONE_LINE), lines], [lines, sample(ONE_LINE)]):
        found = auto.resolve(heads, {})
        assert found is not None
        assert (found.type, found.options, found.notes) == ("jsonl", {}, [])
    with pytest.raises(BadRequest, match="different formats"):
        auto.resolve([sample(EVENTS), lines], {})


@pytest.mark.parametrize("blank", [b"\n", b" \r\n\t", b"\xef\xbb\xbf"])
def test_an_object_of_white_space_says_nothing_of_the_others(blank: bytes) -> None:
    found = auto.resolve([sample(blank), sample(ROWS)], {})
    assert found is not None
    assert found.type == "csv"
    alone = auto.resolve([sample(blank)], {})
    assert alone is not None
    assert alone.type == "text"


@pytest.mark.parametrize("magic", _sniff.UNREAD)
def test_what_is_compressed_in_a_way_that_is_not_read_is_refused_by_name(magic: bytes) -> None:
    with pytest.raises(BadRecord, match=r"is compressed with .*, which is not supported, by its first bytes"):
        auto.resolve([sample(magic + b"any\n" * 9)], {})
    for type_name in ("text", "csv", "json"):
        with pytest.raises(BadRecord, match="unpack it first, or compress it with gzip"):
            foreign.refuse(magic + b"any\n" * 9, "s3://b/object", type_name)
