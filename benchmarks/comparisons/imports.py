"""Cold start: what each handler imports, and how long that takes."""

from benchmarks import results
from benchmarks.model import Comparison, Results, Side
from benchmarks.world import ROOT, World, program


def comparisons(_: World) -> list[Comparison]:
    """All of `functions/`."""
    handlers = sorted(path.parent.name for path in (ROOT / "functions").glob("*/app.py"))
    sides = [
        Side(
            handler,
            (*program("import_handler"), "{out}", str(ROOT / "functions" / handler)),
            results.own,
            {
                "POWERTOOLS_TRACE_DISABLED": "true",
                "PYTHONPATH": f"{ROOT / 'layers' / 'core'}:{ROOT / 'layers' / 'pipelines'}",
            },
            compared=False,
        )
        for handler in handlers
    ]
    what = (
        "`import app` of each function in a fresh interpreter, its modules compiled before; the interpreter's own "
        "start is not in it. On Lambda a cold start takes this times a factor that its memory decides, and unpacks the "
        "code first."
    )
    return [Comparison("imports", "Import time of every handler", what, sides, say=_loaded)]


def _loaded(found: Results) -> list[str]:
    return [f"`{handler}` imports {', '.join(heavy) or 'nothing heavy'}." for handler, heavy in found.said.items()]
