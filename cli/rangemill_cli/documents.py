"""Pipeline documents as files: reading one, and saying what is wrong with it before anything runs."""

import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from rangemill import documents
from rangemill.catalog import Entry
from rangemill.errors import BadPipeline, BadStatement
from rangemill.pipeline import parse_pipeline
from rangemill_cli.errors import UsageProblem
from rangemill_cli.options import pipelines_folder

_STATEMENT: Final = re.compile(r"(?P<field>(?:apply|aggregate|finish)\.sql): (?P<problem>.*)", re.DOTALL)


def find(pipeline: str) -> Path:
    """The document of a path, or of a name in the project's `layers/pipelines`. Raises `UsageProblem`."""
    path = Path(pipeline)
    if path.is_file():
        return path
    folder = pipelines_folder()
    if folder is not None and path.name == pipeline and not path.suffix:
        for document in sorted((*folder.glob("*.yaml"), *folder.glob("*.yml"))):
            if document.stem == pipeline:
                return document
    remedy = "Name a pipeline document: a YAML file, see docs/pipelines.md."
    raise UsageProblem(f"There is no pipeline document {pipeline}.", remedy)


def read(path: Path) -> Entry:
    """The pipeline of a file. Raises `BadPipeline` with the path as the user gave it."""
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise BadPipeline(str(path), None, "", "this file is not UTF-8 text") from None
    except OSError as error:
        raise UsageProblem(f"{path} cannot be read: {error.strerror}.") from None
    with importable(path.parent):  # a format of the user's own lies there
        return Entry(parse_pipeline(text, str(path)), text, str(path))


@contextmanager
def importable(folder: Path) -> Iterator[None]:
    """Let the pipeline's own modules be imported from its folder, and forget them afterwards."""
    path = str(folder.resolve())
    before = set(sys.modules)
    sys.path.insert(0, path)
    try:
        yield
    finally:
        sys.path.remove(path)
        for name in set(sys.modules) - before:
            file = getattr(sys.modules[name], "__file__", None)
            if file is not None and file.startswith(f"{path}{os.sep}"):
                del sys.modules[name]


def check(entry: Entry, also: Path | None = None) -> list[str]:
    """Check what can be known before a record is read; its warnings. `also`: a second folder for Python modules.

    Raises `BadPipeline` with file and line, also for SQL that does not bind.
    """
    from rangemill.engines import check_pipeline  # noqa: PLC0415 - the engine is loaded only here

    source = documents.parse_yaml(entry.text, entry.file)
    try:
        with importable(also or Path(entry.file).parent), importable(Path(entry.file).parent):
            return check_pipeline(entry.pipeline)
    except BadPipeline as mistake:
        raise source.problem(mistake.field, mistake.problem) from mistake
    except BadStatement as mistake:
        raise source.problem(*_field_of(mistake.message)) from mistake


def placed(error: dict[str, Any], entry: Entry) -> dict[str, Any]:
    """An error of Plan with the line of the document that it is about, if it is about the document."""
    if error.get("type") != BadStatement.__name__:
        return error
    mistake = documents.parse_yaml(entry.text, entry.file).problem(*_field_of(error["message"]))
    return {**error, "message": mistake.message}


def _field_of(message: str) -> tuple[str, str]:
    """Which statement the engine's sentence is about, and what it says of it."""
    match = _STATEMENT.fullmatch(message)
    return (match["field"], match["problem"]) if match else ("apply.sql", message)
