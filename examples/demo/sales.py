"""The Python tasks of sales.dig. Parameters come from the workflow's variables, by name."""

from __future__ import annotations

import csv
from collections import Counter

import digdag


def read(shop: str) -> None:
    """Store the shop's figures: orders, items, yen, and yen by item."""
    path = f"orders/{shop}.csv"
    orders = items = yen = 0
    by_item: Counter[str] = Counter()
    with open(path, newline="") as file:
        for line, row in enumerate(csv.DictReader(file), 2):
            quantity = number(row["quantity"], f"{path}, line {line}: quantity")
            amount = quantity * number(row["price_yen"], f"{path}, line {line}: price")
            orders += 1
            items += quantity
            yen += amount
            by_item[row["item"]] += amount
    print(f"{shop}: {orders} orders")
    digdag.env.store({f"shop_{shop}": {"orders": orders, "items": items, "yen": yen, "by_item": by_item}})


def number(text: str, what: str) -> int:
    """The number. Its exception fails the task; the message says where to mend the data."""
    if not text.isdigit():
        raise ValueError(f"{what} is {text!r}, not a number")
    return int(text)


def place(i: int, shops: list[str], **variables: object) -> None:
    """Store the item that earned the most but for the `i` before it."""
    total: Counter[str] = Counter()
    for shop in shops:
        total.update(variables[f"shop_{shop}"]["by_item"])
    item, yen = total.most_common()[i]
    digdag.env.store({f"place_{i}": f"{item} ({yen:,} JPY)"})


def report(shops: list[str], yen_per_euro: int, session_date: str, **variables: object) -> None:
    print(f"\n  Sales of {session_date}\n")
    print(f"  {'shop':8}{'orders':>8}{'items':>8}{'JPY':>12}{'EUR':>12}")
    total = Counter()
    for shop in shops:
        figures = variables[f"shop_{shop}"]
        total.update({key: figures[key] for key in ("orders", "items", "yen")})
        line(shop, figures, yen_per_euro)
    line("all", total, yen_per_euro)
    print("\n  Best: " + ", ".join(str(variables[f"place_{i}"]) for i in range(3)) + "\n")
    digdag.env.store(total_orders=total["orders"])


def line(name: str, figures: dict[str, int], yen_per_euro: int) -> None:
    yen = figures["yen"]
    print(f"  {name:8}{figures['orders']:8}{figures['items']:8}{yen:12,}{yen / yen_per_euro:12,.2f}")
