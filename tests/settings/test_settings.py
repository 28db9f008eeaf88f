"""The grammar of STACKWARDEN=... and -X stackwarden=..., and of sizes."""

import pytest

import stackwarden
from stackwarden._settings import parse, settings
from stackwarden.sizes import size_of

SIZES = {
    "1": 1,
    "65536": 65536,
    "256K": 256 << 10,
    "512m": 512 << 20,
    " 4 GiB ": 4 << 30,
    "8MB": 8 << 20,
    "1T": 1 << 40,
}


@pytest.mark.parametrize(("text", "size"), SIZES.items())
def test_a_size_is_a_number_and_a_unit(text, size):
    assert size_of(text) == size


def test_an_integer_is_a_size():
    assert size_of(12345) == 12345


@pytest.mark.parametrize(
    "text", ["", "K", "1.5M", "-1", "2T", "12 34", "0", str(2**40 + 1), "9" * 5000]
)
def test_what_is_no_size_is_refused_with_the_text(text):
    with pytest.raises(stackwarden.StackRangeError, match=r"must be|not a size"):
        size_of(text)


def test_a_float_is_no_size():
    with pytest.raises(TypeError):
        size_of(1.5)


def test_words_with_commas_between_them():
    assert parse("interpose, unknown=counted,assumed-size=64K,", "here") == {
        "interpose": True,
        "unknown": "counted",
        "assumed-size": 65536,
    }


def test_nothing_is_nothing():
    assert parse("", "here") == {}


@pytest.mark.parametrize(
    "word", ["nonsense", "unknown", "unknown=", "unknown=never", "min-stack=big", "interpose=1"]
)
def test_a_wrong_word_is_a_warning_and_the_others_count(word):
    with pytest.warns(stackwarden.SettingWarning, match=word):
        assert parse(f"{word},policy=exact", "here") == {"policy": "exact"}


def test_the_command_line_wins(unchecked, child):
    done = child(
        "from stackwarden._settings import settings; print(settings())",
        options=("-X", "stackwarden=policy=counted"),
        STACKWARDEN="policy=exact,unknown=disabled",
    )
    assert done.stdout == "{'policy': 'counted', 'unknown': 'disabled'}\n"


def test_no_settings_where_none_are_given(monkeypatch):
    monkeypatch.delenv("STACKWARDEN", raising=False)
    assert settings() == {}
