from __future__ import annotations

import pytest

from dagrun.cli.settings import load_settings
from dagrun.errors import NotFound, UserError
from dagrun.secrets.scopes import LocalSecrets


@pytest.fixture
def home(tmp_path):
    """A home directory; `home("dagrun/config", text)` writes a file below its `.config`."""

    def write(name: str, text: str) -> None:
        path = tmp_path / ".config" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    write.environment = {"HOME": str(tmp_path)}
    return write


def test_without_any_file_there_are_no_settings(home):
    assert load_settings(home.environment).params == {}


def test_digdags_properties_file_is_read(home):
    home("digdag/config", "# mine\nparams.mysql.host = db1\nparams.day: monday\nclient.http.endpoint = x\n")
    assert load_settings(home.environment).params == {"mysql": {"host": "db1"}, "day": "monday"}


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("params.a=b=c", {"a": "b=c"}),
        ("params.a : b", {"a": "b"}),
        ("params.a b", {"a": "b"}),
        ("params.a", {"a": ""}),
        ("  params.a = b ", {"a": "b "}),
        (r"params.a = C:\\dir\tx\u0041\ud83d\ude00\q", {"a": "C:\\dir\txA😀q"}),
        (r"params.a\:b\ c = 1", {"a:b c": "1"}),
        ("params.a = long\\\n   er\r\nparams.b = 1", {"a": "longer", "b": "1"}),
        ("params.a = x\\\\\nparams.b = 1", {"a": "x\\", "b": "1"}),
        ("# params.a = x\\\nparams.b = 1\\", {"b": "1"}),
    ],
)
def test_a_line_of_digdags_file_is_read_as_java_does(home, line, expected):
    home("digdag/config", line)
    assert load_settings(home.environment).params == expected


def test_a_parameter_below_one_that_is_no_map_is_refused(home):
    home("digdag/config", "params.a = 1\nparams.a.b = 2\n")
    with pytest.raises(UserError, match=r"params\.a\.b in the settings: a is not a map"):
        _ = load_settings(home.environment).params


def test_toml_goes_before_digdags_file(home):
    home("digdag/config", "params.day = monday")
    home("dagrun/config.toml", "[params]\nday = 'friday'\nrows = 3\n")
    assert load_settings(home.environment).params == {"day": "friday", "rows": 3}


def test_the_environment_wins_over_a_file_and_a_named_file_over_both(home, tmp_path):
    home("dagrun/config.toml", "params.a = 'file'\nparams.b = 'file'")
    inline = {**home.environment, "DIGDAG_CONFIG": "params.b = inline"}
    assert load_settings(inline).params == {"a": "file", "b": "inline"}
    (tmp_path / "named").write_text("params.b = named")
    assert load_settings(inline, str(tmp_path / "named")).params == {"b": "named"}


def test_a_secret_of_the_settings_is_found_by_its_dotted_key(home):
    home("dagrun/config.toml", "[secrets.shop]\ntoken = 'abc'\npin = 1234\n")
    secrets = LocalSecrets(load_settings(home.environment).values, home.environment)
    assert (secrets.get("shop.token"), secrets.get("shop.pin"), secrets.get("shop")) == ("abc", "1234", None)


def test_broken_toml_names_file_line_and_form(home):
    home("dagrun/config.toml", "params.a = 1\nparams.b =\n")
    with pytest.raises(UserError) as caught:
        load_settings(home.environment)
    assert (
        "config.toml" in str(caught.value)
        and "line 2" in str(caught.value)
        and 'params.day = "monday"' in str(caught.value)
    )


def test_a_file_that_is_no_text_is_named(home, tmp_path):
    path = tmp_path / "binary"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UserError, match="binary"):
        load_settings(home.environment, str(path))


def test_a_named_file_that_is_missing_is_an_error(home):
    with pytest.raises(NotFound, match="configuration file not found: nowhere"):
        load_settings(home.environment, "nowhere")
