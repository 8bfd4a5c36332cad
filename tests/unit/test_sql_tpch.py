"""TPC-H Q1 and Q6 over lineitem, cut into ranges, against DuckDB over the whole file."""

import json
import shutil
import subprocess
import sys
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import pytest

from rangemill import formats
from rangemill.blocks import Block
from rangemill.engines import check_pipeline, make_engine, make_folder
from rangemill.engines.base import ObjectContext
from rangemill.formats.base import Sample
from rangemill.ledger import CRC_FUNCTIONS
from rangemill.pipeline import parse_pipeline
from rangemill.ranges import tile

Q1_APPLY = """
SELECT l_returnflag, l_linestatus, sum(l_quantity) AS sum_qty, sum(l_extendedprice) AS sum_base_price,
    sum(l_extendedprice * (1 - l_discount)) AS sum_disc_price,
    sum(l_extendedprice * (1 - l_discount) * (1 + l_tax)) AS sum_charge, sum(l_discount) AS sum_disc, count(*) AS n
FROM records WHERE l_shipdate <= DATE '1998-09-02' GROUP BY ALL
"""
Q1_AGGREGATE = """
SELECT l_returnflag, l_linestatus, sum(sum_qty) AS sum_qty, sum(sum_base_price) AS sum_base_price,
    sum(sum_disc_price) AS sum_disc_price, sum(sum_charge) AS sum_charge, sum(sum_disc) AS sum_disc, sum(n) AS n
FROM partials GROUP BY ALL
"""
Q1_FINISH = """
SELECT l_returnflag, l_linestatus, sum_qty, sum_base_price, sum_disc_price, sum_charge,
    sum_qty / n AS avg_qty, sum_base_price / n AS avg_price, sum_disc / n AS avg_disc, n AS count_order
FROM result ORDER BY l_returnflag, l_linestatus
"""
Q6_APPLY = """
SELECT sum(l_extendedprice * l_discount) AS revenue FROM records
WHERE l_shipdate >= DATE '1994-01-01' AND l_shipdate < DATE '1995-01-01'
    AND l_discount BETWEEN 0.05 AND 0.07 AND l_quantity < 24
"""
Q6_AGGREGATE = "SELECT sum(revenue) AS revenue FROM partials"


@pytest.fixture(scope="module")
def lineitem(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tpch")
    tool = shutil.which("tpchgen-cli", path=str(Path(sys.executable).parent))
    assert tool is not None
    subprocess.run([tool, "csv", "-s", "0.01", "-T", "lineitem"], cwd=folder, check=True, capture_output=True)
    return folder / "lineitem.csv"


def run(path: Path, apply: str, aggregate: str, finish: str | None, range_bytes: int) -> list[dict[str, Any]]:
    document = {"name": "q", "format": {"type": "csv"}, "apply": {"sql": apply}, "aggregate": {"sql": aggregate}}
    of = parse_pipeline(json.dumps(document | ({"finish": {"sql": finish}} if finish else {})), "q.yaml")
    data, module = path.read_bytes(), formats.load("csv")
    settled = module.settle([Sample("q", data[:100_000], 0, len(data))], {}, True)
    assert check_pipeline(of, settled) == []
    partials, taken = [], 0
    for each in tile(0, len(data), range_bytes):
        engine = make_engine(of, settled)
        engine.begin_object(ObjectContext("", str(path), None))
        pieces = iter([data[max(0, each.start - 1) :]])
        crc = CRC_FUNCTIONS["CRC64NVME"][0]
        for event in module.align(each, range_bytes, len(data), pieces, settled, crc, lambda: False):
            if isinstance(event, Block):
                engine.take(event)
        partial, records = engine.finish()
        partials.append(partial)
        taken += records
    assert taken == data.count(b"\n") - 1
    folder = make_folder(of, settled)
    rows = folder.finish(folder.fold([folder.fold(partials[:3]), folder.fold(partials[3:])]))
    return [json.loads(line, parse_float=Decimal) for line in rows.body.splitlines()]


def whole(path: Path, sql: str) -> list[tuple[Any, ...]]:
    types = dict.fromkeys(("l_extendedprice", "l_discount", "l_tax"), "DECIMAL(18, 2)") | {"l_quantity": "BIGINT"}
    source = f"read_csv('{path}', types = {types})"
    with duckdb.connect() as connection:
        return connection.execute(sql.replace("records", source)).fetchall()


@pytest.mark.parametrize("range_bytes", [100_000, 1 << 30])
def test_q1_is_exact_however_it_is_cut(lineitem: Path, range_bytes: int) -> None:
    found = run(lineitem, Q1_APPLY, Q1_AGGREGATE, Q1_FINISH, range_bytes)
    expected = whole(lineitem, f"{Q1_APPLY} ORDER BY ALL")
    names = ("l_returnflag", "l_linestatus", "sum_qty", "sum_base_price", "sum_disc_price", "sum_charge")
    assert [(*(row[n] for n in names), row["count_order"]) for row in found] == [(*r[:6], r[7]) for r in expected]


@pytest.mark.parametrize("range_bytes", [100_000, 1 << 30])
def test_q6_is_exact_however_it_is_cut(lineitem: Path, range_bytes: int) -> None:
    found = run(lineitem, Q6_APPLY, Q6_AGGREGATE, None, range_bytes)
    assert [(row["revenue"],) for row in found] == whole(lineitem, Q6_APPLY)
