"""`dagrun graph`: a workflow drawn as text, Mermaid or DOT."""

from __future__ import annotations

import os
from collections.abc import Iterator

import click

from dagrun.cli.opened import json_option, print_json
from dagrun.core.workflow import Node, Workflow
from dagrun.project.archive import Directory
from dagrun.project.loader import compile_file, find_project


@click.command("graph", short_help="Draw a workflow.")
@click.argument("workflow")
@click.option("--project", metavar="DIR", help="The project directory.")
@click.option("--format", "kind", type=click.Choice(["text", "mermaid", "dot"]), default="text", show_default=True)
@json_option
def command(workflow: str, project: str | None, kind: str, as_json: bool) -> None:
    """Draw WORKFLOW: its groups, and which task waits for which."""
    directory, file = find_project(workflow, project, os.getcwd())
    found = compile_file(Directory(directory), file)
    if as_json:
        print_json(
            [
                {"index": node.index, "name": node.full_name, "parent": node.parent, "upstreams": list(node.upstreams),
                 "operator": operator_of(node) or None}
                for node in found.nodes
            ]
        )  # fmt: skip
        return
    for line in {"text": as_text, "mermaid": as_mermaid, "dot": as_dot}[kind](found):
        click.echo(line)


def operator_of(node: Node) -> str:
    """`sh>`, or nothing for a group."""
    if not node.spec.operator:
        return ""
    config = node.spec.config
    return f"{config['_type']}>" if config.get("_type") else next(key for key in config if key.endswith(">"))


def depth(workflow: Workflow, node: Node) -> int:
    count = 0
    while node.parent is not None:
        node, count = workflow.nodes[node.parent], count + 1
    return count


def as_text(workflow: Workflow) -> Iterator[str]:
    for node in workflow.nodes:
        waits = [workflow.nodes[index] for index in dict.fromkeys(node.upstreams)]
        names = [one.spec.name if one.parent == node.parent else one.full_name for one in waits]
        after = f"  after {', '.join(names)}" if names else ""
        yield f"{'  ' * depth(workflow, node)}{node.spec.name}  {operator_of(node)}".rstrip() + after


def children(workflow: Workflow, node: Node) -> list[Node]:
    return [other for other in workflow.nodes if other.parent == node.index]


def as_mermaid(workflow: Workflow) -> Iterator[str]:
    yield "flowchart TD"
    yield from mermaid_of(workflow, workflow.nodes[0], "  ")
    for before, after in edges(workflow):
        yield f"  t{before} --> t{after}"


def mermaid_of(workflow: Workflow, node: Node, indent: str) -> Iterator[str]:
    label = f"{node.spec.name} {operator_of(node)}".strip().replace('"', "&quot;")
    if node.spec.operator:
        yield f'{indent}t{node.index}["{label}"]'
        return
    yield f'{indent}subgraph t{node.index}["{label}"]'
    for child in children(workflow, node):
        yield from mermaid_of(workflow, child, f"{indent}  ")
    yield f"{indent}end"


def as_dot(workflow: Workflow) -> Iterator[str]:
    yield f'digraph "{workflow.name}" {{'
    yield "  compound=true; node [shape=box];"
    yield from dot_of(workflow, workflow.nodes[0], "  ")
    for before, after in edges(workflow):
        yield f"  {end_of(workflow, before)} -> {end_of(workflow, after)}{clusters(workflow, before, after)};"
    yield "}"


def dot_of(workflow: Workflow, node: Node, indent: str) -> Iterator[str]:
    label = f"{node.spec.name} {operator_of(node)}".strip().replace('"', '\\"')
    below = children(workflow, node)
    if not below:
        yield f'{indent}t{node.index} [label="{label}"];'
        return
    yield f'{indent}subgraph cluster_t{node.index} {{ label="{label}";'
    for child in below:
        yield from dot_of(workflow, child, f"{indent}  ")
    yield f"{indent}}}"


def end_of(workflow: Workflow, index: int) -> str:
    """DOT draws edges between nodes: for a group, one of its own."""
    node = workflow.nodes[index]
    while below := children(workflow, node):
        node = below[0]
    return f"t{node.index}"


def clusters(workflow: Workflow, before: int, after: int) -> str:
    parts = []
    for name, index in (("ltail", before), ("lhead", after)):
        if children(workflow, workflow.nodes[index]):
            parts.append(f"{name}=cluster_t{index}")
    return f" [{', '.join(parts)}]" if parts else ""


def edges(workflow: Workflow) -> list[tuple[int, int]]:
    return [(before, node.index) for node in workflow.nodes for before in dict.fromkeys(node.upstreams)]
