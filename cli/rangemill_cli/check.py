"""`rangemill check`: what is wrong with pipelines, before they are deployed."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import click

from rangemill_cli.answers import WRONG_USAGE, answering, print_json
from rangemill_cli.errors import UsageProblem
from rangemill_cli.options import json_option, pipelines_folder

if TYPE_CHECKING:
    from rangemill.errors import BadPipeline


@dataclass(slots=True)
class Checked:
    """What was found."""

    names: dict[str, Path] = field(default_factory=dict)
    mistakes: "list[BadPipeline]" = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


@click.command()
@click.argument("paths", metavar="[FOLDER|FILE]…", nargs=-1, type=click.Path(path_type=Path))
@json_option
def check(paths: tuple[Path, ...], as_json: bool) -> None:
    """Check pipeline documents, their Python classes, and their SQL as far as it can be bound without data.

    Without an argument: all of the project's layers/pipelines. Prints `file:line: field: problem` for every mistake.
    """
    with answering(as_json=as_json):
        checked = _check(_documents(paths))
        if as_json:
            print_json(
                {
                    "pipelines": sorted(checked.names),
                    "mistakes": [
                        {"file": m.file, "line": m.line, "field": m.field, "problem": m.problem}
                        for m in checked.mistakes
                    ],
                    "warnings": checked.warnings,
                }
            )
        else:
            for mistake in checked.mistakes:
                click.echo(mistake.message)
            for warning in checked.warnings:
                click.echo(warning, err=True)
            if not checked.mistakes:
                found = f"{len(checked.names)} pipelines" if len(checked.names) != 1 else "1 pipeline"
                click.echo(f"{found} checked, no mistake: {', '.join(sorted(checked.names))}")
        if checked.mistakes:
            raise click.exceptions.Exit(WRONG_USAGE)


def _documents(paths: tuple[Path, ...]) -> list[Path]:
    """The YAML files that are meant. Raises `UsageProblem`."""
    if not paths:
        folder = pipelines_folder()
        if folder is None:
            raise UsageProblem("This is not inside a Rangemill project.", "Name a folder or a pipeline document.")
        paths = (folder.relative_to(Path.cwd()) if folder.is_relative_to(Path.cwd()) else folder,)
    found: list[Path] = []
    for path in paths:
        if path.is_dir():
            found += sorted((*path.glob("*.yaml"), *path.glob("*.yml")))
        elif path.is_file():
            found.append(path)
        else:
            raise UsageProblem(f"There is no file or folder {path}.")
    if not found:
        raise UsageProblem(f"There are no pipeline documents (*.yaml) in {', '.join(map(str, paths))}.")
    return found


def require_sound(folder: Path) -> None:
    """Refuse a deployment with a broken pipeline. Raises `UsageProblem` with every mistake on a line of its own."""
    files = sorted((*folder.glob("*.yaml"), *folder.glob("*.yml")))
    # A package of the layer's requirements.txt need not be installed beside this command.
    mistakes = [m for m in _check(files).mistakes if "failed: ModuleNotFoundError" not in m.problem]
    if mistakes:
        listed = "".join(f"\n  {mistake.message}" for mistake in mistakes)
        raise UsageProblem(f"Nothing was deployed, because of {folder.name}/:{listed}")


def _check(files: list[Path]) -> Checked:
    from rangemill.documents import parse_yaml  # noqa: PLC0415 - `--help` needs none of this
    from rangemill.errors import BadPipeline  # noqa: PLC0415
    from rangemill_cli import documents  # noqa: PLC0415

    checked = Checked()
    for file in files:
        try:
            entry = documents.read(file)
            name = entry.pipeline.name
            if name in checked.names:
                raise parse_yaml(entry.text, entry.file).problem(
                    "name", f"{name!r} is already the name of {checked.names[name]}"
                )
            checked.warnings += [f"{file}: warning: {warning}" for warning in documents.check(entry)]
            checked.names[name] = file
        except BadPipeline as mistake:
            checked.mistakes.append(mistake)
    return checked
