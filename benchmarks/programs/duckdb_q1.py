"""TPC-H Q1 by DuckDB alone: `duckdb_q1 OUT FILE THREADS`. The same build of DuckDB as ours."""

import sys
from decimal import Decimal

import duckdb
from benchmarks.pipelines import tpch
from benchmarks.programs.timing import leave


def main() -> None:
    out, file, threads = sys.argv[1:]
    with duckdb.connect(config={"threads": int(threads)}) as connection:
        source = f"read_csv('{file}', header = true, columns = {tpch.COLUMNS})"
        rows = connection.execute(tpch.whole(source)).fetchall()
    leave(out, [[float(value) if isinstance(value, Decimal) else value for value in row] for row in rows])


if __name__ == "__main__":
    main()
