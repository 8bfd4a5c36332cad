"""`rangemill check`."""

from pathlib import Path
from typing import Any

import pytest


def test_right_pipelines_are_named(room: Any) -> None:
    room.python("Lines")
    room.pipeline("words", '{sql: "SELECT line FROM records"}')
    result = room.call("check", ".")
    assert result.exit_code == 0
    assert "2 pipelines checked, no mistake: lines, words" in result.stdout


def test_every_mistake_is_a_line_of_its_own(room: Any) -> None:
    room.pipeline("a", "{python: pipeline_code:Nothing}")
    room.pipeline("b", '{sql: "SELECT linex FROM records"}')
    room.pipeline("c", "{python: pipeline_code:Lines}", "{type: nope}")
    Path("d.yaml").write_text("name: [")
    result = room.call("check", ".")
    assert result.exit_code == 2
    lines = result.stdout.splitlines()
    assert len(lines) == 4
    assert lines[0].startswith("a.yaml:3: apply.python: ")
    assert lines[1].startswith("b.yaml:3: apply.sql: ")
    assert lines[2].startswith("c.yaml:2: format.type: ")
    assert lines[3].startswith("d.yaml:")


def test_json_holds_file_line_field_and_problem(room: Any) -> None:
    room.pipeline("a", "{python: pipeline_code:Nothing}")
    (mistake,) = room.json("check", "a.yaml", exit_code=2)["mistakes"]
    assert (mistake["file"], mistake["line"], mistake["field"]) == ("a.yaml", 3, "apply.python")


def test_a_name_may_stand_in_one_document_only(room: Any) -> None:
    room.python("Lines")
    Path("zz.yaml").write_text(Path("lines.yaml").read_text())
    result = room.call("check", ".")
    assert result.exit_code == 2
    assert "zz.yaml:1: name: 'lines' is already the name of lines.yaml" in result.stdout


def test_without_an_argument_the_projects_pipelines_are_meant(room: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    assert room.call("check").exit_code == 2
    Path("layers/pipelines").mkdir(parents=True)
    Path("layers/pipelines/w.yaml").write_text(
        "name: w\nformat: {type: text}\napply: {sql: SELECT line FROM records}\n"
    )
    monkeypatch.chdir("layers")
    result = room.call("check")
    assert result.exit_code == 0
    assert "1 pipeline checked, no mistake: w" in result.stdout


def test_a_folder_without_documents_is_wrong_usage(room: Any) -> None:
    assert room.call("check", ".").exit_code == 2


def test_the_samples_are_right() -> None:
    from click.testing import CliRunner

    from rangemill_cli.main import cli

    folder = Path(__file__).parents[3] / "layers/pipelines"
    result = CliRunner().invoke(cli, ["check", str(folder)])
    assert result.exit_code == 0, result.output
