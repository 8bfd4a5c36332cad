"""The deployed pipelines: every `*.yaml` beside the pipelines' own modules."""

from dataclasses import dataclass
from functools import cache
from pathlib import Path

import rangemill
from rangemill.errors import BadPipeline, UnknownPipeline
from rangemill.pipeline import Pipeline, match_all, parse_pipeline


@dataclass(frozen=True, slots=True)
class Entry:
    """A pipeline and the document it was read from."""

    pipeline: Pipeline
    text: str
    file: str


@dataclass(frozen=True, slots=True)
class Catalog:
    """All pipelines of a folder, and what is wrong with the documents that are none."""

    entries: dict[str, Entry]
    mistakes: list[BadPipeline]

    def find(self, name: str) -> Entry:
        """The pipeline of that name. Raises `UnknownPipeline`."""
        if name not in self.entries:
            known = ", ".join(sorted(self.entries)) or "none"
            raise UnknownPipeline(f"no pipeline is called {name!r}; deployed are: {known}")
        return self.entries[name]

    def matching(self, bucket: str, key: str) -> list[Entry]:
        """The pipelines that an uploaded object starts."""
        return [self.entries[p.name] for p in match_all([e.pipeline for e in self.entries.values()], bucket, key)]


def read(folder: Path) -> Catalog:
    """The catalog of a folder; a bad document, or a name that two share, is a mistake and the others stand."""
    entries: dict[str, Entry] = {}
    mistakes: list[BadPipeline] = []
    for file in sorted((*folder.glob("*.yaml"), *folder.glob("*.yml"))):
        try:
            text = file.read_text(encoding="utf-8")
            pipeline = parse_pipeline(text, file.name)
        except UnicodeDecodeError:
            mistakes.append(BadPipeline(file.name, None, "", "this file is not UTF-8 text"))
        except BadPipeline as mistake:
            mistakes.append(mistake)
        else:
            if pipeline.name in entries:
                problem = f"{pipeline.name!r} is already the name of {entries[pipeline.name].file}"
                mistakes.append(BadPipeline(file.name, None, "name", problem))
            else:
                entries[pipeline.name] = Entry(pipeline, text, file.name)
    return Catalog(entries, mistakes)


@cache
def deployed() -> Catalog:
    """The catalog of the layers that this process runs with."""
    return read(Path(rangemill.__file__).parent.parent)
