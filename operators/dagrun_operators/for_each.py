"""for_each>: the same tasks for every item of a list, or for every combination of several lists."""

from __future__ import annotations

import math
from collections.abc import Mapping
from itertools import product
from typing import Any, ClassVar
from urllib.parse import quote

from dagrun.plugins.operator import Option, Params, Succeeded, TaskContext, json_text

from .generate import Generator, body, check_limit, repeat

SHOWN = 8  # characters, as Java counts them, of a variable's name and of its value that a task's name shows


class ForEach(Generator):
    """Run the same tasks for every item of a list, or for every combination of several.

    The first variable changes slowest. An empty list leaves nothing to do.

    Example:
        +shops:
          for_each>:
            shop: [tokyo, osaka]
          _do:
            sh>: ./load.sh ${shop}
    """

    options: ClassVar[tuple[Option, ...]] = (
        Option(
            "_command", "JSON map", "required", "a list for each variable, or its JSON text: `shop: ${shops}` works"
        ),
        *Generator.options,
    )

    def run(self, task: TaskContext) -> Succeeded:
        lists = variables(task)
        do = body(task)
        check_limit(task, math.prod(len(items) for items in lists.values()) if lists else 0)
        combinations = product(*(enumerate(items) for items in lists.values())) if lists else ()
        return repeat(task, do, (one_round(list(lists), choice) for choice in combinations))


def variables(task: TaskContext) -> dict[str, list[Any]]:
    """The lists by variable. The whole map, and each list, may be given as JSON text."""
    given = Params(task.params.map_or_json("_command"))
    return {name: list(given.list_or_json(name)) for name in given}


def one_round(names: list[str], choice: tuple[tuple[int, Any], ...]) -> tuple[str, Mapping[str, Any]]:
    """The name of a round and its variables: `+for-0=fruit=1=orange&1=n=0=1`."""
    parts = [
        f"{index}={shown(name)}={position}={shown(value)}"
        for index, (name, (position, value)) in enumerate(zip(names, choice, strict=True))
    ]
    return "+for-" + "&".join(parts), {name: value for name, (_, value) in zip(names, choice, strict=True)}


def shown(value: Any) -> str:
    """The value as part of a task's name: cut first, then escaped (spec/operators 11.3)."""
    text = value if isinstance(value, str) else json_text(value)
    units = text.encode("utf-16-le", "surrogatepass")[: 2 * SHOWN]
    return quote(units.decode("utf-16-le", "surrogatepass"), safe="", errors="replace").replace("~", "%7E")
