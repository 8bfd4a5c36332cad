"""The import of a function's module in a fresh interpreter: `import_handler OUT FOLDER`. Nothing else is imported."""

import importlib
import sys

from benchmarks.programs.timing import leave, timed

HEAVY = ("duckdb", "numpy", "pandas", "boto3", "botocore", "aws_xray_sdk", "aws_lambda_powertools", "msgspec", "yaml")


def main() -> None:
    out, folder = sys.argv[1:]
    sys.path.insert(0, folder)
    with timed(out):
        importlib.import_module("app")
    leave(out, [name for name in HEAVY if name in sys.modules])


if __name__ == "__main__":
    main()
