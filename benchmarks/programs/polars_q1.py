"""TPC-H Q1 by Polars, in floating point: `polars_q1 OUT FILE`; in the peers' environment."""

import sys
from datetime import date
from typing import Any

import polars as pl
from benchmarks.pipelines import tpch
from benchmarks.programs.timing import leave

TYPES: dict[str, Any] = {"BIGINT": pl.Int64, "INTEGER": pl.Int32, "DATE": pl.Date, "VARCHAR": pl.String}


def main() -> None:
    out, file = sys.argv[1:]
    schema = {name: TYPES.get(kind, pl.Float64) for name, kind in tpch.COLUMNS.items()}
    price, discount, tax = pl.col("l_extendedprice"), pl.col("l_discount"), pl.col("l_tax")
    query = (
        pl.scan_csv(file, schema=schema, try_parse_dates=True)
        .filter(pl.col("l_shipdate") <= date(1998, 9, 2))
        .group_by("l_returnflag", "l_linestatus")
        .agg(
            pl.col("l_quantity").sum().alias("sum_qty"),
            price.sum().alias("sum_base_price"),
            (price * (1 - discount)).sum().alias("sum_disc_price"),
            (price * (1 - discount) * (1 + tax)).sum().alias("sum_charge"),
            pl.col("l_quantity").mean().alias("avg_qty"),
            price.mean().alias("avg_price"),
            discount.mean().alias("avg_disc"),
            pl.len().alias("count_order"),
        )
        .sort("l_returnflag", "l_linestatus")
    )
    leave(out, [list(row) for row in query.collect(engine="streaming").rows()])


if __name__ == "__main__":
    main()
