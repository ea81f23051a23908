"""From the words of a command line to a workflow file, and what a person reads where there is none."""

from __future__ import annotations

import os

import pytest

from dagrun.errors import NotFound, UserError, WorkflowError
from dagrun.project.archive import Directory, Snapshot, snapshot
from dagrun.project.loader import (
    LARGEST_FILE,
    find_project,
    load_config,
    name_of,
    workflow_file,
    workflow_files,
)


@pytest.fixture
def project(tmp_path) -> str:
    put(tmp_path, "daily.dig", "+a:\n  echo>: hi\n")
    put(tmp_path, "flows/weekly.yml", "+a:\n  echo>: hi\n")
    return str(tmp_path)


def put(directory, path: str, text: str = "") -> None:
    full = os.path.join(directory, path)
    os.makedirs(os.path.dirname(full), exist_ok=True)
    with open(full, "w") as file:
        file.write(text)


def refused(project: str, path: str) -> WorkflowError:
    with pytest.raises(WorkflowError) as caught:
        load_config(Directory(project), path)
    assert caught.value.file and str(caught.value).startswith(caught.value.file)
    return caught.value


class TestFindProject:
    @pytest.mark.parametrize("named", ["daily", "daily.dig", "./daily.dig"])
    def test_a_file_of_the_current_directory(self, project, named):
        assert find_project(named, None, project) == (project, "daily.dig")

    @pytest.mark.parametrize("named", ["flows/weekly", "flows/weekly.yml"])
    def test_the_directory_of_a_file_elsewhere_is_its_project(self, project, named):
        assert find_project(named, None, project) == (f"{project}/flows", "weekly.yml")

    def test_an_absolute_path(self, project):
        assert find_project(f"{project}/daily.dig", None, "/") == (project, "daily.dig")

    @pytest.mark.parametrize("named", ["flows/weekly", "flows/../flows/weekly.yml"])
    def test_a_named_project_is_what_paths_are_relative_to(self, project, named):
        assert find_project(named, project, "/") == (project, "flows/weekly.yml")

    def test_a_named_project_is_relative_to_the_current_directory(self, project):
        assert find_project("weekly", "flows", project) == (f"{project}/flows", "weekly.yml")

    def test_a_name_with_dots_in_it(self, project):
        put(project, "v1.2.dig")
        put(project, "..dots.dig")
        assert find_project("v1.2", None, project)[1] == "v1.2.dig"
        assert find_project("..dots", None, project)[1] == "..dots.dig"

    def test_a_project_that_is_not_there(self, project):
        with pytest.raises(NotFound, match="directory not found: none"):
            find_project("daily", "none", project)

    @pytest.mark.parametrize("named", ["../daily", "..", "../../etc/passwd"])
    def test_a_file_outside_of_the_named_project(self, project, named):
        with pytest.raises(UserError, match=r"is outside of the project directory .*--project"):
            find_project(named, f"{project}/flows", project)

    def test_a_name_with_a_slip_is_answered_with_the_right_one(self, project):
        with pytest.raises(NotFound, match=r"workflow not found: dayli \(did you mean daily\?\)") as caught:
            find_project("dayli", None, project)
        assert caught.value.exit_code == 3

    @pytest.mark.parametrize(
        ("named", "meant"), [("flows/weakly", "flows/weekly"), ("flows/weakly.yml", "flows/weekly.yml")]
    )
    def test_a_path_with_a_slip_is_answered_with_the_right_one(self, project, named, meant):
        for root in (None, project):
            with pytest.raises(NotFound) as caught:
                find_project(named, root, project)
            assert f"(did you mean {meant}?)" in str(caught.value)

    def test_a_name_like_no_other_is_answered_with_all(self, project):
        put(project, "notes.txt")
        with pytest.raises(NotFound, match=r"\(there are: daily\)\n  go to its directory, or name the project"):
            find_project("xyz", None, project)

    @pytest.mark.parametrize("named", ["flows", ".", "", "none/daily", "flows/", "nul\0byte"])
    def test_what_is_no_file(self, project, named):
        with pytest.raises(NotFound, match="workflow not found"):
            find_project(named, None, project)

    def test_a_directory_with_the_name_of_a_workflow(self, project):
        os.mkdir(f"{project}/dir.dig")
        with pytest.raises(NotFound):
            find_project("dir.dig", None, project)

    @pytest.mark.parametrize("named", ["twin", "twin.dig", "twin.yml"])
    def test_twins_are_refused_by_both_names(self, project, named):
        put(project, "twin.dig")
        put(project, "twin.yml", "+a:\n")
        with pytest.raises(UserError, match=r"twin.dig and twin.yml would be one workflow; rename or delete"):
            find_project(named, None, project)

    def test_a_file_of_parameters_may_bear_the_name_of_a_workflow(self, project):
        put(project, "load.dig", "+a:\n")
        put(project, "load.yml", "in: {type: file}\n")
        assert find_project("load.dig", None, project) == find_project("load", None, project)


class TestWorkflowFiles:
    def test_dig_files_and_yaml_files_with_tasks_in_the_top_directory(self, project):
        put(project, "plain.yml", "a: 1\n")
        put(project, "tasks.yaml", "timezone: UTC\n+a:\n")
        put(project, "quoted.yml", '"+a":\n')
        put(project, "empty.dig")
        put(project, ".hidden.dig")
        put(project, "notes.txt", "+a:\n")
        assert workflow_files(Directory(project)) == ["daily.dig", "empty.dig", "quoted.yml", "tasks.yaml"]

    def test_one_is_found_by_its_name(self, project):
        assert workflow_file(Directory(project), "daily") == "daily.dig"
        assert workflow_file(Directory(project), "flows/weekly") == "flows/weekly.yml"

    def test_one_that_is_not_there_is_answered_with_what_is(self, project):
        with pytest.raises(NotFound, match=r"did you mean daily\?"):
            workflow_file(Directory(project), "dayly")

    @pytest.mark.parametrize(
        ("file", "name"), [("a.dig", "a"), ("sub/a.yml", "a"), ("a.b.yaml", "a.b"), ("a.txt", "a.txt")]
    )
    def test_the_name_is_that_of_the_file_without_its_suffix(self, file, name):
        assert name_of(file) == name


class TestLoading:
    def test_a_file_with_its_includes(self, project):
        put(project, "main.dig", "!include : parts/a.dig\n+b: {}\n")
        put(project, "parts/a.dig", "!include : c.dig\nx: 1\n")
        put(project, "parts/c.dig", "y: 2\n")
        config = load_config(Directory(project), "main.dig")
        assert (config["x"], config["y"]) == (1, 2) and "+b" in config

    def test_a_snapshot_loads_like_its_directory(self, project, tmp_path_factory):
        put(project, "main.dig", "!include : lib/a.dig\n")
        put(project, "parts/a.dig", "x: 1\n")
        os.symlink("parts", f"{project}/lib")
        state = str(tmp_path_factory.mktemp("state"))
        files = Snapshot(snapshot(project, state)[1], f"{state}/objects")
        assert load_config(files, "main.dig") == load_config(Directory(project), "main.dig") == {"x": 1}

    def test_a_file_that_is_not_there(self, project):
        with pytest.raises(FileNotFoundError):
            load_config(Directory(project), "none.dig")

    def test_a_directory(self, project):
        assert refused(project, "flows").kind == "not_readable"

    def test_a_binary_file(self, project):
        with open(f"{project}/b.dig", "wb") as file:
            file.write(b"+a:\n  \x00\x01")
        error = refused(project, "b.dig")
        assert (error.kind, error.line, error.column) == ("not_text", 2, 3)
        assert "binary" in str(error) and "UTF-8" in str(error)

    def test_a_file_in_another_encoding(self, project):
        with open(f"{project}/l.dig", "wb") as file:
            file.write("name: caf\u00e9\n".encode("latin-1"))
        assert "byte 0xe9 is not UTF-8" in str(refused(project, "l.dig"))

    def test_a_file_of_more_than_10_MB(self, project):
        with open(f"{project}/large.dig", "wb") as file:
            file.write(b"#" * LARGEST_FILE + b"\n")
        error = refused(project, "large.dig")
        assert error.kind == "file_too_large"
        assert "10,000,001 bytes; at most 10,000,000" in str(error) and "call>" in str(error)

    def test_a_file_of_10_MB_is_read(self, project):
        with open(f"{project}/large.dig", "wb") as file:
            file.write(b"a: 1\n" + b"#" * (LARGEST_FILE - 5))
        assert load_config(Directory(project), "large.dig") == {"a": 1}

    @pytest.mark.skipif(os.geteuid() == 0, reason="root can read everything")
    def test_a_file_that_may_not_be_read(self, project):
        os.chmod(f"{project}/daily.dig", 0)
        error = refused(project, "daily.dig")
        assert error.kind == "not_readable" and "chmod u+r daily.dig" in str(error)

    def test_a_link_to_itself(self, project):
        os.symlink("loop.dig", f"{project}/loop.dig")
        assert refused(project, "loop.dig").kind == "not_readable"


class TestIncludes:
    @pytest.fixture
    def including(self, project):
        def include(path: str, file: str = "main.dig") -> WorkflowError:
            put(project, file, f"timezone: UTC\n!include : {path}\n")
            return refused(project, file)

        return include

    @pytest.mark.parametrize("path", ["none.dig", "none/none.dig", "daily.dig/none.dig"])
    def test_one_that_is_not_there_is_told_with_file_and_line(self, including, path):
        error = including(path)
        assert (error.kind, error.file, error.line) == ("include_not_found", "main.dig", 2)
        assert path in str(error) and "relative to the project directory" in str(error)

    def test_its_directory_is_named_where_it_is_not_the_projects(self, including):
        assert "relative to flows" in str(including("none.dig", "flows/main.dig"))

    @pytest.mark.parametrize("path", ["../daily.dig", "/etc/passwd", "sub/../../daily.dig"])
    def test_one_outside_is_refused(self, including, path):
        error = including(path, "flows/main.dig")
        assert (error.kind, error.file, error.line) == ("include_outside", "flows/main.dig", 2)

    @pytest.mark.parametrize("path", ["flows", "."])
    def test_a_directory_is_refused(self, including, path):
        assert including(path).kind == "not_readable"

    def test_a_name_that_no_file_system_takes(self, including):
        assert including("x" * 5000).kind == "not_readable"

    def test_a_file_that_includes_itself(self, including):
        assert "main.dig" in str(including("main.dig"))
