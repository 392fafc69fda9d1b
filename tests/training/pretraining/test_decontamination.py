"""What counts as a message that must not occur: its normal form, and a long message inside a longer
text.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tamis.data.deduplication import normalize
from tamis.errors import DataError
from tamis.training.pretraining import decontamination
from tamis.training.pretraining.decontamination import WORDS, Excluded, messages_of

LONG = "Call 08001234567 now to claim your FREE prize today"
SHORT = "see you at five, ok"


@pytest.mark.parametrize(
    "text",
    [
        LONG,
        SHORT,
        "SEE  YOU at five -- OK!!",
        "see you, at\nfive ok",
        "call 99999999999 NOW: to claim your free prize today",
        "ｓｅｅ you at five ok",
        "see you at fi\u00adve, ok",
        "seeyou at five ok",
    ],
)
def test_case_digits_punctuation_and_white_space_do_not_hide_a_message(text: str) -> None:
    assert Excluded([LONG, SHORT]).holds(text)


@pytest.mark.parametrize(
    "text", ["see you at six, ok", "see you at five", "you at five ok", "", "ok"]
)
def test_another_text_is_not_held(text: str) -> None:
    assert not Excluded([LONG, SHORT]).holds(text)


@pytest.mark.parametrize(
    ("text", "held"),
    [
        (f"He read it out: '{LONG}.' Then he laughed.", True),
        (f"{LONG} or never", True),
        (f"so {LONG}", True),
        (f"so\n{LONG.upper()}\nhe said", True),
        (f"{LONG}s are gone", False),
        (f"Re{LONG}", False),
        (f"He read: {LONG.rsplit(' ', 1)[0]} tomorrow", False),
        (f"I will {SHORT} my dear friend of many years", False),
    ],
)
def test_a_long_message_is_found_inside_a_longer_text_word_for_word_a_short_one_is_not(
    text: str, held: bool
) -> None:
    assert Excluded([LONG, SHORT]).holds(text) is held


def test_a_message_is_looked_for_inside_texts_from_eight_words_on() -> None:
    eight, seven = "a b c d e f g h", "p q r s t u v"
    assert WORDS == 8
    excluded = Excluded([eight, seven])
    assert (
        excluded.holds(f"x {eight} y")
        and not excluded.holds(f"x {seven} y")
        and excluded.holds(seven)
    )


def test_messages_that_open_alike_are_each_found() -> None:
    opening = "one two three four five six seven eight"
    excluded = Excluded([f"{opening} nine ten", f"{opening} eleven"])
    assert excluded.holds(f"so {opening} nine ten and on") and excluded.holds(
        f"so {opening} eleven and on"
    )
    assert not excluded.holds(f"so {opening} nine") and not excluded.holds(
        f"so {opening} and {opening} twelve"
    )
    assert excluded.holds(f"{opening} {opening} eleven"), "the second place is looked at too"


def test_joined_lines_that_equal_a_message_are_held() -> None:
    assert Excluded(["hello there my friend"]).holds("Hello there\nmy friend.")


def test_messages_are_counted_by_their_normal_form() -> None:
    assert len(Excluded([LONG, LONG.upper(), "see you at 5", "See you at 7!", SHORT])) == 3
    assert len(Excluded()) == 0 and not Excluded().holds("anything")


def test_punctuation_alone_is_held_only_as_itself() -> None:
    excluded = Excluded([":-)"])
    assert excluded.holds(" :-) ") and not excluded.holds("!!!") and not excluded.holds("")


def held_slowly(messages: Sequence[str], text: str, least: int) -> bool:
    """The definition, by comparing every run of at least so many words with every message."""
    words = normalize(text).split(" ")
    keys = {normalize(message) for message in messages}
    runs = {
        " ".join(words[a:b]) for a in range(len(words)) for b in range(a + least, len(words) + 1)
    }
    return normalize(text) in keys or bool(runs & keys)


def of_two_words(least: int, most: int) -> st.SearchStrategy[str]:
    return st.lists(st.sampled_from(["no", "Yes"]), min_size=least, max_size=most).map(" ".join)


@given(st.lists(of_two_words(1, 6), max_size=5), of_two_words(0, 9), st.sampled_from([2, 3]))
@example(["no Yes"], "no no Yes", 2)
def test_it_agrees_with_the_definition_where_messages_overlap_themselves(
    messages: list[str], text: str, least: int
) -> None:
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(decontamination, "WORDS", least)  # short messages meet often
        assert Excluded(messages).holds(text) is held_slowly(messages, text, least)


def test_messages_come_from_tables_and_folders_of_them(tmp_path: Path) -> None:
    (tmp_path / "sets" / "inner").mkdir(parents=True)
    (tmp_path / "sets" / "a.tsv").write_text(
        "ham\tsee you at five\nspam\twin a prize\nham\tok then\n", encoding="utf-8"
    )
    (tmp_path / "sets" / "inner" / "b.csv").write_text(
        "label,text\nham,of the inner folder\nspam,buy now\n", encoding="utf-8"
    )
    (tmp_path / "sets" / "README.md").write_text("# not a table\n", encoding="utf-8")
    (tmp_path / "own.tsv").write_text("ham\tmine\nspam\tyours\n", encoding="utf-8")
    found = messages_of([str(tmp_path / "sets"), str(tmp_path / "own.tsv")])
    assert found == [
        "see you at five",
        "win a prize",
        "ok then",
        "of the inner folder",
        "buy now",
        "mine",
        "yours",
    ]
    assert messages_of([]) == []


def test_a_place_without_messages_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text("# nothing here\n", encoding="utf-8")
    with pytest.raises(
        DataError,
        match=r"contains no file; --exclude takes tables, folders of tables, or names of data sets",
    ):
        messages_of([str(tmp_path)])
    with pytest.raises(DataError, match="no-such-set"):
        messages_of(["no-such-set"])
