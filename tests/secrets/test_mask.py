from __future__ import annotations

import base64
import json
import re
from itertools import pairwise
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from dagrun.secrets.mask import Masker, forms

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


# -- no form of a secret survives, however the stream is cut

# Not the star, which every output may hold, and no white space at the ends, which doesn't count.
LETTERS = st.characters(exclude_characters="*", exclude_categories=("Cs",))
SECRETS = st.text(LETTERS, min_size=3, max_size=24).map(str.strip).filter(lambda text: len(text) >= 3)
CUTS = st.lists(st.integers(0, 400), max_size=12)


def cut(data: bytes, places: list[int]) -> list[bytes]:
    borders = [0, *sorted(place for place in places if place < len(data)), len(data)]
    return [data[start:end] for start, end in pairwise(borders)]


def core_in_base64(before: bytes, secret: bytes, after: bytes) -> bytes:
    """The characters of the encoded text that say something of the secret and of nothing else."""
    code = base64.b64encode(before + secret + after)
    first, end = len(before) * 8, (len(before) + len(secret)) * 8
    return code[-(-first // 6) : end // 6]


@given(SECRETS, st.binary(max_size=20), st.binary(max_size=20), CUTS)
def test_no_plain_secret_survives(secret, before, after, places):
    assert secret.encode() not in masked([secret], *cut(before + secret.encode() + after, places))


@given(SECRETS, st.binary(max_size=20), st.binary(max_size=20), CUTS, st.booleans())
def test_no_secret_survives_in_base64_at_any_alignment(secret, before, after, places, for_urls):
    data, core = base64.b64encode(before + secret.encode() + after), core_in_base64(before, secret.encode(), after)
    if for_urls:
        data, core = (text.translate(bytes.maketrans(b"+/", b"-_")) for text in (data, core))
    assume(len(core) >= 4)  # shorter ones are anywhere by chance
    assert core not in masked([secret], *cut(b"[" + data + b"]", places))


@given(
    st.permutations("abcdefgh23456789").flatmap(lambda order: st.integers(4, 16).map(lambda n: "".join(order[:n]))),
    st.integers(0, 5),
    st.integers(0, 5),
)
def test_in_base64_no_character_that_tells_of_the_secret_is_left_and_no_other_is_taken(secret, before, after):
    around = b"\xff" * before, b"\xff" * after
    data, core = (
        base64.b64encode(around[0] + secret.encode() + around[1]),
        core_in_base64(around[0], secret.encode(), b""),
    )
    start, end = -(-before * 8 // 6), (before + len(secret)) * 8 // 6
    assert data[start:end] == core
    assert masked([secret], b"[" + data + b"]") == b"[" + data[:start] + b"***" + data[end:] + b"]"


@pytest.mark.parametrize(
    "encode",
    [
        quote,
        quote_plus,
        lambda text: quote(text, safe=""),
        lambda text: quote(text, safe="!'()"),  # JavaScript's encodeURIComponent; stars aren't in our secrets
        lambda text: quote(text, safe="!'()/;?:@&=+$,#"),  # encodeURI
        lambda text: quote_plus(text).replace("~", "%7E"),
        lambda text: re.sub("%..", lambda escape: escape[0].lower(), quote(text, safe="")),
    ],
    ids=["quote", "quote_plus", "everything", "encodeURIComponent", "encodeURI", "form", "lower case"],
)
@given(secret=SECRETS, places=CUTS)
def test_no_secret_survives_in_a_url(encode, secret, places):
    form = encode(secret)
    assert form.encode() not in masked([secret], *cut(f"http://h/?a={form}&b".encode(), places))


@given(SECRETS, CUTS, st.booleans())
def test_no_secret_survives_in_json(secret, places, ascii_only):
    data = json.dumps({"key": [secret]}, ensure_ascii=ascii_only)
    assert data.encode() not in masked([secret], *cut(data.encode(), places))


@given(st.lists(SECRETS, min_size=1, max_size=4), st.lists(st.integers(0, 3), max_size=8), CUTS)
def test_no_secret_survives_among_others(secrets, order, places):
    words = [secrets[place % len(secrets)] for place in order]
    shown = masked(secrets, *cut(" * ".join(words).encode(), places))
    assert not [word for word in words if word.encode() in shown]


@given(st.lists(SECRETS, max_size=4), st.binary(max_size=200), CUTS)
def test_what_holds_no_secret_passes_unchanged(secrets, data, places):
    assume(not any(form in data for secret in secrets for form in forms(secret)))
    assert masked(secrets, *cut(data, places)) == data


@given(st.lists(SECRETS, max_size=3), st.lists(st.binary(max_size=30) | st.sampled_from([b"abc", b"ab"]), max_size=8))
def test_nothing_is_shown_twice_or_late_without_need(secrets, chunks):
    """What is kept back could still become a secret: it is shorter than the longest form."""
    masker = Masker(secrets)
    longest = max((len(form) for secret in secrets for form in forms(secret)), default=1)
    for chunk in chunks:
        masker.feed(chunk)
        assert len(masker._kept) < longest
