"""What is done so far."""

from __future__ import annotations

from bench.llama2 import auxiliary_table, cross_table, distillation_table, margin_table, rounds_table

TABLES = (margin_table, auxiliary_table, cross_table, rounds_table, distillation_table)


def table() -> None:
    """All that has results, as Markdown."""
    parts = [lines for one in TABLES if (lines := one.table())]
    print(
        "\n\n".join("\n".join(lines) for lines in parts) or "nothing is done yet: python -m bench.llama2 run --seed 1"
    )
