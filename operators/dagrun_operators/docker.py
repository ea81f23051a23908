"""docker>: run an image."""

from __future__ import annotations

from typing import Any, ClassVar

from dagrun.plugins.operator import Command, Option, TaskContext

from .exec_ import without_secrets, words_of
from .scripts import Script, Secrets, command

OF_CONTAINER = (
    "pull", "volumes", "env", "user", "network", "cpu", "mem", "pids", "gpus", "run_options", "build", "build_options", "workdir",
    "keep_on_fail",
)  # fmt: skip


class Docker(Script):
    """Run an image in a container: its own command, or one that is given.

    It sees the workspace, and the variables by the file `$DAGRUN_IN`.

    Example:
        +convert:
          docker>: example.com/convert:2
          command: [convert, --from, in.csv]
    """

    options: ClassVar[tuple[Option, ...]] = (
        Option("_command", "text", meaning="the image"),
        Option(
            "command",
            "list or text",
            "the image's own",
            "what to run in it: a list of arguments, or a line for `/bin/sh -c`",
        ),
        Option("pull", "text", "`missing`", "or `always`, `never`"),
        Option("volumes", "list", "none", "further mounts, `/host/path:/path:ro`"),
        Option("env", "map", "none", "variables of its environment"),
        Option("user", "text", meaning="who it runs as"),
        Option("network", "text", meaning="its network"),
        Option("cpu", "text", "no limit", "so many cores, such as `1.5`"),
        Option("mem", "text", "no limit", "so much memory, such as `512m`"),
        Option("pids", "text", "no limit", "so many processes"),
        Option("gpus", "text", "none", "such as `all`"),
        Option("run_options", "list", "none", "more options of `docker run`"),
        Option("build", "list", "none", "commands that make an image on top of this one"),
        Option("build_options", "list", "none", "more options of `docker build`"),
        Option("workdir", "text", "the working directory", "another one, of the image"),
        Option("keep_on_fail", "boolean", "false", "leave the container of a failed task"),
        *(option for option in Script.options if option.name != "docker"),
    )
    namespaces: ClassVar[tuple[str, ...]] = ("docker",)

    def run(self, task: TaskContext) -> Command:
        params = task.params
        image: dict[str, Any] = {"image": params.text("_command")}
        image |= {key: task.local[key] for key in OF_CONTAINER if key in task.local}
        given = params.get("command")
        argv: list[str] = []
        if isinstance(given, str):
            argv = ["/bin/sh", "-c", given]
        elif given is not None:
            argv = words_of(params, "command")
        secrets = Secrets(task)
        argv = without_secrets("command", argv, secrets)
        return command(task, params, argv, files={}, secrets=secrets)._replace(image=image)
