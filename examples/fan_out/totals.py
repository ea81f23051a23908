"""The tasks of wf.dig."""

from pathlib import Path

import digdag


def find():
    digdag.env.store(shops=sorted(file.stem for file in Path("shops").glob("*.txt")))


def total(shop):
    lines = Path("shops", f"{shop}.txt").read_text().split()
    digdag.env.store({f"total_{shop}": sum(int(line) for line in lines)})


def gather(shops, **variables):
    total = sum(variables[f"total_{shop}"] for shop in shops)
    print(f"the sum of {', '.join(shops)} is {total}")
