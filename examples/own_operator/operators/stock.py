"""stock>: what a shop has of a thing."""

import csv

from dagrun.plugins.operator import Operator, Option, Succeeded, TaskFailed


class Stock(Operator):
    """Store how many pieces of a thing the table has, and fail if it has none.

    Example:
        +apples:
          stock>: apple
          table: stock.csv
    """

    options = (
        Option("_command", "text", "required", "the thing"),
        Option("table", "text", "stock.csv", "a file with the columns `thing` and `pieces`"),
    )

    def run(self, task):
        thing, table = task.params.text("_command"), task.params.text("table", "stock.csv")
        for row in csv.DictReader(task.read(table).splitlines()):
            if row["thing"] == thing:
                return Succeeded(stored={"pieces": int(row["pieces"])})
        raise TaskFailed(f"{table} has no {thing}; add a line to it")
