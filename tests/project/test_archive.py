"""Snapshots of a project, and the files of a directory and of a snapshot read in the same way."""

from __future__ import annotations

import hashlib
import os
import socket
from concurrent.futures import ThreadPoolExecutor

import pytest

from dagrun.errors import UserError
from dagrun.project.archive import Directory, Snapshot, object_path, snapshot


@pytest.fixture
def project(tmp_path):
    directory = tmp_path / "project"
    directory.mkdir()
    return directory


@pytest.fixture
def state(tmp_path) -> str:
    return str(tmp_path / "state")


def put(project, **files: str) -> None:
    for name, text in files.items():
        path = project / name.replace("__", "/").replace("_dig", ".dig")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def age(directory) -> None:
    """The files are an hour old: younger than the index, a file may have changed without showing it."""
    for folder, _, names in os.walk(directory):
        for name in names:
            path = os.path.join(folder, name)
            status = os.lstat(path)
            os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns - 3600 * 10**9), follow_symlinks=False)


class TestSnapshot:
    def test_it_tells_each_file_with_digest_and_mode(self, project, state):
        put(project, a_dig="+a:\n", sub__x="data")
        (project / "sub" / "x").chmod(0o754)
        _, manifest = snapshot(str(project), state)
        assert list(manifest) == ["a.dig", "sub/x"]
        assert manifest["sub/x"] == ["file", hashlib.sha256(b"data").hexdigest(), 0o754]

    def test_the_contents_are_among_the_objects(self, project, state):
        put(project, a="one", b="one", c="two")
        _, manifest = snapshot(str(project), state)
        for path, text in {"a": b"one", "b": b"one", "c": b"two"}.items():
            with open(object_path(f"{state}/objects", manifest[path][1]), "rb") as file:
                assert file.read() == text

    def test_the_same_files_have_the_same_digest_wherever_they_are(self, tmp_path, state):
        digests = []
        for name in ("one", "other"):
            (tmp_path / name).mkdir()
            put(tmp_path / name, b="1", a="2")
            digests.append(snapshot(str(tmp_path / name), f"{state}-{name}")[0])
        assert digests[0] == digests[1]

    @pytest.mark.parametrize("change", ["content", "name", "mode", "more", "less", "link"])
    def test_every_change_changes_the_digest(self, project, state, change):
        put(project, a="1", b="2")
        before, _ = snapshot(str(project), state)
        match change:
            case "content":
                put(project, a="3")
            case "name":
                (project / "a").rename(project / "c")
            case "mode":
                (project / "a").chmod(0o755)
            case "more":
                put(project, c="")
            case "less":
                (project / "a").unlink()
            case "link":
                (project / "l").symlink_to("a")
        assert snapshot(str(project), state)[0] != before

    def test_a_change_that_keeps_size_and_time_is_found_right_after_the_first_snapshot(self, project, state):
        put(project, a="1")
        before, _ = snapshot(str(project), state)
        status = os.stat(project / "a")
        put(project, a="2")
        os.utime(project / "a", ns=(status.st_atime_ns, status.st_mtime_ns))
        assert snapshot(str(project), state)[0] != before

    def test_an_unchanged_file_is_not_read_again(self, project, state, monkeypatch):
        put(project, a="1")
        age(project)
        first = snapshot(str(project), state)
        # The time of the inode can't be set; so the index is made to look younger.
        index = f"{state}/index.json"
        future = os.stat(index).st_mtime_ns + 3600 * 10**9
        os.utime(index, ns=(future, future))
        monkeypatch.setattr("dagrun.project.archive.keep", lambda *_: pytest.fail("it was read"))
        assert snapshot(str(project), state) == first

    def test_an_object_that_was_lost_is_made_again(self, project, state):
        put(project, a="1")
        _, manifest = snapshot(str(project), state)
        future = os.stat(f"{state}/index.json").st_mtime_ns + 3600 * 10**9
        os.utime(f"{state}/index.json", ns=(future, future))
        os.unlink(object_path(f"{state}/objects", manifest["a"][1]))
        snapshot(str(project), state)
        assert Snapshot(manifest, f"{state}/objects").read("a") == b"1"

    @pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"a": 1}', '{"a": []}'])
    def test_a_broken_index_is_made_anew(self, project, state, text):
        put(project, a="1")
        first = snapshot(str(project), state)
        with open(f"{state}/index.json", "w") as file:
            file.write(text)
        assert snapshot(str(project), state) == first

    def test_an_empty_project_has_a_digest(self, project, state):
        digest, manifest = snapshot(str(project), state)
        assert (len(digest), manifest) == (64, {})

    def test_names_that_are_no_text_are_kept(self, project, state):
        name = os.fsdecode(b"caf\xe9 \xc3\xbc")
        (project / name).write_text("x")
        for _ in range(2):
            _, manifest = snapshot(str(project), state)
            assert list(manifest) == [name]

    def test_links_are_told_and_not_followed(self, project, state):
        put(project, sub__a="1")
        (project / "link").symlink_to("sub/a")
        (project / "dangling").symlink_to("nowhere")
        (project / "dir").symlink_to("sub")
        _, manifest = snapshot(str(project), state)
        links = {path: entry for path, entry in manifest.items() if entry[0] == "link"}
        assert links == {"link": ["link", "sub/a"], "dangling": ["link", "nowhere"], "dir": ["link", "sub"]}

    def test_an_absolute_link_into_the_project_becomes_a_relative_one(self, project, state):
        """Or a task in a copy would write into the project itself (spec/cli 6.4)."""
        put(project, a="1", sub__b="2")
        (project / "sub" / "up").symlink_to(project / "a")
        (project / "top").symlink_to(project)
        (project / "out").symlink_to(f"{project}-other/a")
        _, manifest = snapshot(str(project), state)
        found = {path: manifest[path][1] for path in ("sub/up", "top", "out")}
        assert found == {"sub/up": "../a", "top": ".", "out": f"{project}-other/a"}

    def test_large_directories_of_tools_are_linked_to(self, project, state):
        put(project, sub__node_modules__x="1", a="1")
        (project / ".git").mkdir()
        (project / ".venv").mkdir()
        _, manifest = snapshot(str(project), state)
        trees = [path for path, entry in manifest.items() if entry == ["tree", ""]]
        assert trees == [".git", ".venv", "sub/node_modules"]

    def test_what_dagrun_and_python_leave_is_left_out(self, project, state):
        put(project, a="1", __pycache__="x", sub____pycache____m="1")
        for name in (".dagrun", ".digdag", "__pycache__"):
            (project / "deep" / name).mkdir(parents=True)
            (project / "deep" / name / "x").write_text("")
        (project / "m.pyc").write_text("")
        assert "a" in snapshot(str(project), state)[1]
        assert not [path for path in snapshot(str(project), state)[1] if "deep" in path or path.endswith(".pyc")]

    def test_pipes_and_sockets_are_left_out(self, project, state):
        put(project, a="1")
        os.mkfifo(project / "pipe")
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(os.path.relpath(project / "socket"))
            assert list(snapshot(str(project), state)[1]) == ["a"]

    @pytest.mark.skipif(os.geteuid() == 0, reason="root can read everything")
    def test_a_file_that_can_not_be_read_is_named(self, project, state):
        put(project, sub__a="1")
        (project / "sub" / "a").chmod(0)
        with pytest.raises(UserError, match=r"sub/a can't be read: Permission denied; .*\.dagrunignore"):
            snapshot(str(project), state)

    @pytest.mark.skipif(os.geteuid() == 0, reason="root can read everything")
    def test_a_directory_that_can_not_be_read_is_named(self, project, state):
        put(project, closed__a="1")
        (project / "closed").chmod(0)
        with pytest.raises(UserError, match=r"closed/ can't be read: Permission denied; .*\.dagrunignore"):
            snapshot(str(project), state)

    def test_threads_that_take_it_at_once_agree(self, project, state):
        put(project, **{f"f{number}": str(number % 3) for number in range(30)})
        with ThreadPoolExecutor(4) as pool:
            found = list(pool.map(lambda _: snapshot(str(project), state)[0], range(4)))
        assert len(set(found)) == 1


class TestIgnored:
    def paths(self, project, *lines: str, name: str = ".dagrunignore") -> list[str]:
        (project / name).write_text("\n".join(lines))
        return [path for path in Directory(str(project)).paths() if not path.startswith(".d")]

    @pytest.mark.parametrize("name", [".dagrunignore", ".digdagignore"])
    def test_both_names_are_read(self, project, name):
        put(project, a="", b="")
        assert self.paths(project, "a", name=name) == ["b"]

    def test_dagruns_own_replaces_digdags(self, project):
        put(project, a="", b="")
        self.paths(project, "a", name=".digdagignore")
        assert self.paths(project, "b") == ["a"]

    @pytest.mark.parametrize(
        ("lines", "left"),
        [
            (["*.csv"], ["a.dig", "data/x.txt", "data/sub/y.txt"]),
            (["data/"], ["a.dig", "b.csv"]),
            (["/b.csv", "# data", ""], ["a.dig", "data/c.csv", "data/x.txt", "data/sub/y.txt"]),
            (["data/**/y.txt"], ["a.dig", "b.csv", "data/c.csv", "data/x.txt"]),
            (["*.csv", "!data/c.csv"], ["a.dig", "data/c.csv", "data/x.txt", "data/sub/y.txt"]),
            (["*.dig"], ["b.csv", "data/c.csv", "data/x.txt", "data/sub/y.txt"]),
        ],
    )
    def test_patterns_are_those_of_git(self, project, lines, left):
        for path in ("a.dig", "b.csv", "data/c.csv", "data/x.txt", "data/sub/y.txt"):
            (project / path).parent.mkdir(parents=True, exist_ok=True)
            (project / path).write_text("")
        assert self.paths(project, *lines) == sorted(left)

    @pytest.mark.parametrize("line", ["node_modules", "node_modules/", "/node_modules/"])
    def test_a_directory_that_would_be_linked_to_can_be_left_out(self, project, line):
        put(project, a="", node_modules__x="")
        assert self.paths(project, line) == ["a"]

    def test_only_the_file_in_the_top_directory_counts(self, project):
        put(project, sub__a="")
        (project / "sub" / ".dagrunignore").write_text("a")
        assert "sub/a" in Directory(str(project)).paths()

    def test_bytes_that_are_no_text_are_part_of_a_name(self, project):
        (project / os.fsdecode(b"caf\xe9")).write_text("")
        (project / ".dagrunignore").write_bytes(b"caf\xe9\n")
        assert Directory(str(project)).paths() == [".dagrunignore"]

    def test_a_pattern_that_is_none_is_told_with_its_file(self, project):
        put(project, a="")
        with pytest.raises(UserError, match=r"\.dagrunignore: .*'!'"):
            self.paths(project, "!")


class TestReading:
    @pytest.fixture(params=["directory", "snapshot"])
    def files(self, request, project, state):
        put(project, a_dig="top", sub__b="below", common__lib__c="deep")
        (project / "link").symlink_to("sub/b")
        (project / "sub" / "up").symlink_to("../a.dig")
        (project / "chain").symlink_to("sub/up")
        (project / "lib").symlink_to("common/lib")
        (project / "twice").symlink_to("lib")
        (project / "dangling").symlink_to("nowhere")
        (project / "loop").symlink_to("loop")
        if request.param == "directory":
            return Directory(str(project))
        return Snapshot(snapshot(str(project), state)[1], f"{state}/objects")

    @pytest.mark.parametrize(
        ("path", "text"),
        [
            ("a.dig", b"top"),
            ("sub/b", b"below"),
            ("link", b"below"),
            ("chain", b"top"),
            ("lib/c", b"deep"),
            ("twice/c", b"deep"),
        ],
    )
    def test_a_file_is_read_also_through_links(self, files, path, text):
        assert files.read(path) == text

    @pytest.mark.parametrize("path", ["none", "sub/none", "dangling", "lib/none", "sub/../none"])
    def test_what_is_not_there_is_not_found(self, files, path):
        with pytest.raises(FileNotFoundError):
            files.read(path)

    def test_a_link_to_itself_is_an_error(self, files):
        with pytest.raises(OSError, match=r"(?i)too many"):
            files.read("loop")


def test_a_snapshot_never_reads_outside_of_itself(project, state):
    (project / "out").symlink_to("../../../../../../etc/hostname")
    files = Snapshot(snapshot(str(project), state)[1], f"{state}/objects")
    for path in ("out", "../state/index.json", "/etc/hostname"):
        with pytest.raises(FileNotFoundError):
            files.read(path)


def test_a_snapshot_lists_its_files_and_knows_their_digests(project, state):
    put(project, a="1")
    (project / "link").symlink_to("a")
    files = Snapshot(snapshot(str(project), state)[1], f"{state}/objects")
    assert files.paths() == ["a"]
    assert files.digest("a") == hashlib.sha256(b"1").hexdigest()
    assert files.digest("link") is files.digest("none") is None
