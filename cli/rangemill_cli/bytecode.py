"""What `sam build` made, with its bytecode: on Lambda nothing is compiled then at a cold start, where nothing is kept.

    python -m rangemill_cli.bytecode [BUILD_DIR]

`sam build` leaves bytecode out, and a layer is read-only where it runs: every new sandbox would compile all that it
imports, which takes longer than importing it.
"""

import compileall
import sys
from pathlib import Path
from py_compile import PycInvalidationMode
from typing import Final

_RUNTIME: Final = (3, 13)
"""The template's: bytecode of another version would be passed over."""


def compile_build(build: Path) -> bool:
    """Compile every layer and function of a build; False where this Python is not the functions' own.

    The bytecode is the same whatever the machine and the time: it names no path of it, and is not checked against the
    time of a source file, which zip files round.
    """
    if sys.version_info[:2] != _RUNTIME:
        return False
    for folder in sorted(entry for entry in build.iterdir() if entry.is_dir()):
        compileall.compile_dir(
            folder,
            stripdir=str(folder),
            quiet=2,  # a package may ship a template that is no Python
            force=True,  # unchecked bytecode of an older source would be taken for this one's
            workers=0,
            invalidation_mode=PycInvalidationMode.UNCHECKED_HASH,
        )
    return True


if __name__ == "__main__":
    build_dir = Path(sys.argv[1] if len(sys.argv) > 1 else ".aws-sam/build")
    if not compile_build(build_dir):
        print(f"left {build_dir} without bytecode: that takes Python {'.'.join(map(str, _RUNTIME))}", file=sys.stderr)
