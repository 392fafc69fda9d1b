"""The model card: each fact stands in it once it is known, and its tables are tables."""

from __future__ import annotations

import copy
import re
from typing import Any

import pytest

from tamis.training.pretraining.model_card import model_card
from tamis.training.pretraining.recipe import PretrainRecipe, SourceSettings

SOURCES = {
    "chats": SourceSettings(
        file="chats.txt", times=2.5, licence="CC0", upstream="example.org/chats"
    ),
    "books": SourceSettings(
        file="books.txt", times=0.2, licence="CC BY 4.0 | MIT", upstream="two\nlines | and bars"
    ),
}
RECIPE = PretrainRecipe(name="tiny-3").changed(
    {
        "seed": 77,
        "corpus.sources": {name: source.model_dump() for name, source in SOURCES.items()},
        "objective.lm_loss_weight": 1.25,
        "objective.lm_loss_share": 0.35,
        "objective.teacher_weight": 5.5,
        "objective.similarity_weight": 0.75,
    }
)
COUNTS = {"lines": 13_131, "repeated": 14_141, "held_out": 15_151}
FACTS: dict[str, Any] = {
    "recipe": RECIPE.model_dump(mode="json"),
    "start": None,
    "teacher": "minilm",
    "teacher_model": "all-MiniLM",
    "teacher_licence": "Apache 2.0",
    "corpus": {
        "chats": {"texts": 12_345, "words": 678_901, "excluded": 1_357, **COUNTS},
        "books": {"texts": 23_456, "words": 789_012, "excluded": 2_468, **COUNTS},
        "my | own.txt": {"texts": 34_567, "words": 890_123, "excluded": 3_579, **COUNTS},
    },
    "parameters": 12_349_999,
    "fingerprint": "f" * 64,
    "tokens": 20_000_123,
    "steps": 2_449,
    "tokens_per_second": 5_432.1,
    "machine": {"device": "cpu", "threads": 3, "dtype": "bf16", "system": "x86_64"},
    "held_out": {
        "bits_per_byte": 1.2345,
        "by_source": {"chats": 1.1111, "books": 1.3333, "my | own.txt": 1.7777},
        "cosine": 0.6543,
    },
    "history": [
        {"step": 1, "tokens": 8_192, "next_token": 9.7},
        {"step": 3, "tokens": 4_000_111, "held_out": {"bits_per_byte": 2.4681, "cosine": 0.1234}},
        {"step": 9, "tokens": 20_000_123, "held_out": {"bits_per_byte": 1.2345}},
    ],
    "samples": ["Hi, are you\nthere?", "  ", "I think so.\n\n| not | a table"],
}


def cells(row: str) -> list[str]:
    return [cell.strip() for cell in re.split(r"(?<!\\)\|", row)][1:-1]


def tables(card: str) -> list[list[list[str]]]:
    """Cells of each table: a run of lines that begin with a bar."""
    runs = re.findall(r"(?:^\|.*\n)+", card, flags=re.MULTILINE)
    return [[cells(row) for row in run.splitlines()] for run in runs]


def test_every_row_of_a_table_has_the_columns_of_its_head() -> None:
    found = tables(model_card(FACTS))
    assert [len(table) for table in found] == [2 + 3, 2 + 3, 2 + 2]
    for head, rule, *rows in found:
        assert set(rule) == {"---"} and all(head), "a head and a rule"
        assert {len(row) for row in (rule, *rows)} == {len(head)}


def test_each_source_has_its_row() -> None:
    data, by_source, _ = tables(model_card(FACTS))
    assert data[2:] == [
        ["chats", "12,345", "678,901", "2.5 times", "1,357", "CC0", "example.org/chats"],
        [
            "books",
            "23,456",
            "789,012",
            "a fixed 20% of it",
            "2,468",
            r"CC BY 4.0 \| MIT",
            r"two lines \| and bars",
        ],
        [r"my \| own.txt", "34,567", "890,123", "1 times", "3,579", "not stated", "not stated"],
    ]
    assert by_source[2:] == [["chats", "1.111"], ["books", "1.333"], [r"my \| own.txt", "1.778"]]


def test_measurements_are_a_row_each() -> None:
    assert tables(model_card(FACTS))[2][2:] == [
        ["4,000,111", "2.468", "0.123"],
        ["20,000,123", "1.234", ""],
    ]


@pytest.mark.parametrize(
    "fact",
    [
        "# tiny-3\n",
        "12.3 million parameters",
        "20,000,123 tokens in 2,449 steps at about 5,432 tokens/s (cpu, 3 threads, bf16), seed 77",
        "Initialized from: nothing. Teacher: all-MiniLM (Apache 2.0).",
        "next token x 1.25 on 35% of the positions, 1 - cosine to the teacher x 5.5, similarity x "
        "0.75",
        "1.234 bits per byte over all sources",
        "Mean cosine between the mapped pooled state and the teacher's vector: 0.654.",
        "> Hi, are you there?\n\n",
        "> I think so. | not | a table\n\n",
        "## Limits",
    ],
)
def test_what_is_known_stands_in_the_card(fact: str) -> None:
    assert fact in model_card(FACTS)


def test_an_empty_sample_is_left_out() -> None:
    assert len(re.findall(r"^>", model_card(FACTS), flags=re.MULTILINE)) == 2


def test_limits_are_those_of_the_recipe_or_of_any_corpus() -> None:
    assert "- It reproduces the biases of its sources.\n" in model_card(
        FACTS
    ) and "English" not in model_card(FACTS)
    facts = copy.deepcopy(FACTS)
    facts["recipe"]["limits"] = ["Only Dutch.", "Only\nmail."]
    assert "- Only Dutch.\n- Only mail.\n- Intended for fine-tuning" in model_card(
        facts
    ) and "biases" not in model_card(facts)


def test_what_was_kept_out_is_named() -> None:
    assert "0 in every row may also mean" in model_card(FACTS)
    assert "Given: sms-spam (5,574 messages), own.tsv (1 messages)." in model_card(
        FACTS | {"excluded": {"sms-spam": 5574, "own.tsv": 1}}
    )
    assert "No evaluation set was given." in model_card(FACTS | {"excluded": {}})


def test_without_a_teacher_the_card_speaks_of_none() -> None:
    facts = copy.deepcopy(FACTS) | {"teacher": None, "start": "gpt2"}
    del facts["held_out"]["cosine"]
    card = model_card(facts)
    assert (
        "Initialized from: gpt2. Teacher: none." in card
        and "Losses: next token x 1.25 on 35% of the positions.\n" in card
    )
    assert "similarity" not in card and "Mean cosine" not in card


def test_what_the_first_of_several_stages_began_from_is_told() -> None:
    stage = {
        "tokens": 5,
        "steps": 1,
        "teacher": None,
        "objective": FACTS["recipe"]["objective"],
        "start": "MiniLM, all of its blocks rewritten as a GPT-2",
    }
    facts = copy.deepcopy(FACTS) | {"start": "stage-2", "stages": [stage, stage | {"start": "1"}]}
    assert "Initialized from: MiniLM, all of its blocks rewritten as a GPT-2. " in model_card(facts)
    facts["stages"][0]["start"] = None
    assert "Initialized from: nothing. " in model_card(facts)
    del facts["stages"][0]["start"]
    assert "Initialized from: stage-2. " in model_card(facts)


def test_what_part_of_the_vocabulary_and_of_the_texts_was_learnt_is_told() -> None:
    facts = copy.deepcopy(FACTS)
    facts["recipe"]["objective"] |= {
        "frequent_pieces": 2048,
        "sampled_pieces": 512,
        "distilled_words": 32,
    }
    card = model_card(facts)
    assert (
        "on 35% of the positions (softmax over the 2,048 most frequent tokens and 512 sampled "
        "ones), 1 - cosine" in card
    )
    assert "similarity x 0.75 (teacher losses on texts up to 32 words)." in card
    assert "sampled" not in model_card(FACTS) and "texts up to" not in model_card(FACTS)


def test_without_held_out_texts_there_are_no_figures_of_them() -> None:
    card = model_card(FACTS | {"held_out": {}, "history": []})
    assert len(tables(card)) == 1 and "Held-out" not in card and "bits per byte" not in card


def test_the_card_does_not_change_the_facts() -> None:
    facts = copy.deepcopy(FACTS)
    assert model_card(facts) == model_card(facts) and facts == FACTS
