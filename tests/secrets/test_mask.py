from __future__ import annotations

import base64
import json
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dagrun.secrets.mask import Masker

SECRET = "pa/ss w+rd=ü?"


def masked(secrets: list[str], *chunks: bytes) -> bytes:
    masker = Masker(secrets)
    return b"".join(map(masker.feed, chunks)) + masker.flush()


def test_a_secret_becomes_three_stars():
    assert masked(["hunter2"], b"user=me pass=hunter2!\n") == b"user=me pass=***!\n"


def test_bytes_that_are_no_text_pass_through():
    assert masked(["hunter2"], b"\xff\x00hunter2\xfe") == b"\xff\x00***\xfe"


def test_without_secrets_everything_passes_at_once():
    assert Masker([]).feed(b"anything") == b"anything"


@pytest.mark.parametrize("size", [1, 2, 3, 7])
def test_a_secret_is_found_across_the_borders_of_chunks(size):
    data = b"a hunter2 b hunt hunter hunter2hunter2 hunter"
    chunks = [data[at : at + size] for at in range(0, len(data), size)]
    assert masked(["hunter2"], *chunks) == b"a *** b hunt hunter ****** hunter"


def test_only_what_may_become_a_secret_is_kept_back():
    masker = Masker(["hunter2"])
    assert masker.feed(b"prompt> hun") == b"prompt> "
    assert masker.feed(b"gry\n") == b"hungry\n"


def test_the_longer_of_two_secrets_that_begin_alike_is_replaced_whole():
    assert masked(["abc", "abcdef"], b"abcdef abc") == b"*** ***"
    assert masked(["abc", "abcdef"], b"abc", b"def", b" abc", b"x") == b"*** ***x"


def test_a_value_of_less_than_three_characters_is_not_masked():
    assert masked(["ab", "", "  a \n"], b"ab a") == b"ab a"
    assert masked(["abc"], b"abc") == b"***"


def test_white_space_around_the_value_does_not_count():
    assert masked(["hunter2\n"], b"[hunter2]") == b"[***]"


@pytest.mark.parametrize("before", [b"", b"u", b"us", b"user:"])
@pytest.mark.parametrize("after", [b"", b"\n", b"@x", b"end"])
@pytest.mark.parametrize("encode", [base64.b64encode, base64.urlsafe_b64encode])
def test_it_is_found_in_base64_at_any_alignment(before, after, encode):
    value = b"h\xc3\xbcnter~~~2?>"
    shown = masked([value.decode()], b"header " + encode(before + value + after))
    assert b"***" in shown
    assert len(shown) <= len(b"header ") + 12 + len(before) * 2


@pytest.mark.parametrize(
    "form",
    [quote(SECRET), quote(SECRET, safe=""), quote_plus(SECRET), quote(SECRET, safe="").replace("%C3%BC", "%c3%bc")
     .replace("%2F", "%2f").replace("%2B", "%2b").replace("%3D", "%3d").replace("%3F", "%3f")],
)  # fmt: skip
def test_it_is_found_in_a_url(form):
    assert masked([SECRET], f"http://x/?p={form}&q=1".encode()) == b"http://x/?p=***&q=1"


def test_it_is_found_in_json():
    secret = 'say "hü"\\ \t end'
    assert masked([secret], json.dumps({"a": secret}).encode()) == b'{"a": "***"}'
    assert masked([secret], json.dumps({"a": secret}, ensure_ascii=False).encode()) == b'{"a": "***"}'


def test_each_line_of_a_key_is_masked_alone():
    key = "-----BEGIN KEY-----\nMIIEvQIBADANBgkq\nshort\n-----END KEY-----\n"
    assert masked([key], b"  MIIEvQIBADANBgkq\r\n") == b"  ***\r\n"
    assert masked([key], key.encode()) == b"***\n"


def test_a_whole_text_is_masked_without_touching_the_stream():
    masker = Masker(["hunter2"])
    assert masker.feed(b"hunt") == b""
    assert masker.text("hunter2 \udcff") == "*** \udcff"
    assert masker.feed(b"er2") == b"***"


@given(
    st.lists(st.text("ab\n", min_size=3, max_size=6), min_size=1, max_size=3),
    st.lists(st.text("ab\n=", max_size=8), max_size=8),
)
def test_how_the_stream_is_cut_does_not_matter(secrets, chunks):
    pieces = [chunk.encode() for chunk in chunks]
    assert masked(secrets, *pieces) == masked(secrets, b"".join(pieces))


@given(st.text("abc", min_size=3, max_size=6), st.binary(max_size=20), st.binary(max_size=20))
def test_no_secret_gets_through(secret, before, after):
    assert secret.encode() not in masked([secret], before, secret.encode(), after)
