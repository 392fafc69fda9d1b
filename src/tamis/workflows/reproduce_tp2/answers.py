"""The answers to questions 1 to 8 in words. Every figure comes from this run."""

from __future__ import annotations

import math

from tamis.workflows.reproduce_tp2 import reported
from tamis.workflows.reproduce_tp2.backbone_rows import BackboneFacts
from tamis.workflows.reproduce_tp2.data_rows import DataFacts
from tamis.workflows.reproduce_tp2.wording import arrow, of_rows, percent

BALANCED_UP_TO = 0.6
"""Share of the largest class up to which classes count as balanced."""
MIXED_UP_TO = 0.02
"""Difference of the class share up to which the order of a file does not matter, even if the file
is so large that chance explains less."""


def setup_answers(versions: dict[str, str], backbone: BackboneFacts) -> dict[str, list[str]]:
    """Answer questions 1 to 4 and 8, each in some sentences."""
    settings, params = backbone.found.settings, backbone.found.params
    listed = ", ".join(f"{key} {value}" for key, value in settings.items())
    width, words = backbone.head_before
    classes = backbone.head_after[1]
    share = backbone.trainable / backbone.found.parameters
    return {
        "1": [
            "A virtual environment separates the packages of this experiment from all others, and "
            "requirements.txt pins their versions, so that the same versions are installed again.",
            f"This run used Python {versions['python']} and PyTorch {versions['torch']}; the "
            f"report used {reported.VERSIONS['python']} and {reported.VERSIONS['torch']}. "
            "TensorFlow is not needed: tamis reads OpenAI's files itself.",
        ],
        "2": [
            f"settings is a dict with {len(settings)} keys, the sizes of the network. Of "
            f"{backbone.name}: {listed}.",
            f"The vocabulary has {settings['n_vocab']:,} tokens, a text may have "
            f"{settings['n_ctx']:,} of them, each token is a vector of {settings['n_embd']} "
            f"numbers, and {settings['n_layer']} blocks with {settings['n_head']} attention heads "
            "each compute with these vectors.",
        ],
        "3": [
            f"params is a nested dict with the keys {', '.join(sorted(params))}. wte has a vector "
            f"per token, {tuple(params['wte'])}; wpe a vector per position, "
            f"{tuple(params['wpe'])}; g and b are scale and shift of the final LayerNorm, "
            f"{tuple(params['g'])}.",
            f"blocks is a list of {len(params['blocks'])}, one per block, each with "
            f"{', '.join(sorted(params['blocks'][0]))}. Together there are "
            f"{backbone.found.parameters:,} parameters.",
        ],
        "4": [
            "The names differ, the numbers are the same: n_vocab is vocab_size, n_embd is emb_dim, "
            "n_ctx is context_length, n_layer is n_layers, n_head is n_heads. dropout is a setting "
            "of the training, not of the checkpoint; it is 0 here.",
        ],
        "8": [
            f"The output head of the language model gives a score for each of the {words:,} "
            f"tokens ({arrow(backbone.head_before)}). To classify, {classes} scores are enough: "
            f"the new head is {arrow(backbone.head_after)}.",
            f"Only the new head and the final LayerNorm are trained: {backbone.trainable:,} "
            f"numbers, {100 * share:.2g} % as many as the network has. All others keep what GPT-2 "
            "learned.",
            "The report prints the new head as the original one, because its cell had been run "
            f"twice. Here a second run gives {arrow(backbone.head_after)} again, with "
            f"{'the same' if backbone.same_twice else 'other'} weights, and the original head is "
            f"still {width} -> {words}.",
        ],
    }


def data_answers(facts: DataFacts) -> dict[str, list[str]]:
    """Answer questions 5 to 7."""
    return {
        "5.1": _why_shuffle(facts),
        "5.2": _why_imbalance_misleads(facts),
        "6": _why_padding(facts),
        "7": _batches(facts),
    }


def _why_shuffle(facts: DataFacts) -> list[str]:
    first, last = facts.unshuffled
    label, run = facts.longest_run
    shuffled = facts.share(facts.sought, "train"), facts.share(facts.sought, "test")
    gap = abs(first - last)
    share, rows = 0.8 * first + 0.2 * last, sum(facts.rows.values())
    # Two standard errors of the difference between 80 % and 20 % of the rows.
    chance = 2 * math.sqrt(share * (1 - share) / (0.16 * rows))
    reading = (
        "The file happens to be mixed already, but a program cannot rely on that."
        if gap <= max(MIXED_UP_TO, chance)
        else f"Without shuffling, the test rows would differ from the training rows by "
        f"{100 * gap:.1f} points: the test would measure the order of the file."
    )
    same = "gave the same rows" if facts.repeated else "gave OTHER rows"
    return [
        "A file may be sorted, by class, by date or by source. Cut in its order, the test part is "
        "its end, which need not be like its beginning; and batches of neighbouring rows would "
        "push the weights now to one class, now to the other.",
        f"In the order of this file, the first 80 % have {percent(first)} {facts.sought} and the "
        f"rest {percent(last)}; the longest run of one class is {run:,} rows of {label}. "
        f"{reading} After the split {facts.split}, the shares are {percent(shuffled[0])} and "
        f"{percent(shuffled[1])}.",
        f"A fixed seed (123 in the report) gives the same rows in every run, so that figures can "
        f"be compared: a second split {same}.",
    ]


def _why_imbalance_misleads(facts: DataFacts) -> list[str]:
    test = facts.counts["test"]
    most, sought, rows = facts.majority, facts.sought, facts.rows["test"]
    shares = ", ".join(
        f"{part}: " + ", ".join(f"{label} {percent(facts.share(label, part))}" for label in counts)
        for part, counts in facts.counts.items()
    )
    accuracy = facts.majority_accuracy
    if max(facts.share(label, "train") for label in test) <= BALANCED_UP_TO:
        return [
            f"The classes are nearly balanced here ({shares}), so accuracy misleads less than in "
            f"the reference: the rule that always predicts {most} is right for "
            f"{of_rows(test[most], rows)} test rows, although it finds no {sought}.",
        ]
    return [
        f"The classes are imbalanced ({shares}).",
        f"So accuracy misleads: a rule that always predicts {most}, whatever the text says, is "
        f"right for {of_rows(test[most], rows)} test rows and finds none of the {test[sought]:,} "
        f"{sought} rows. Its accuracy is {percent(accuracy)}, its recall and its F1 of {sought} "
        "are 0.",
        f"An accuracy near {percent(accuracy)} therefore shows nothing. Read recall, precision "
        f"and F1 of {sought}, and compare with that rule.",
    ]


def _why_padding(facts: DataFacts) -> list[str]:
    if facts.length is None:
        return ["This run pads nothing: tamis computes each message with its own length."]
    mean = float(facts.tokens.mean())
    size = "messages by tokens" if facts.batch is None else facts.batch
    return [
        f"The tensors of a batch must be rectangular, so every message is brought to "
        f"{facts.length} tokens: a batch of inputs is [{size}, {facts.length}], its labels are "
        f"[{size}].",
        f"A training message has {mean:.0f} tokens on average and at most "
        f"{int(facts.tokens.max())}. {facts.truncated} of {facts.rows['train']:,} are longer than "
        f"{facts.length} and lose their end. {percent(facts.filler)} of all positions are padding, "
        f"and {percent(facts.padded)} of the messages end in it: question 10 comes back to this.",
    ]


def _batches(facts: DataFacts) -> list[str]:
    if facts.batch is None:
        return ["Batches are made by their number of tokens here, so their number varies."]
    train = facts.counts["train"]
    rows, fewest = facts.rows["train"], min(train.values())
    balanced = fewest * len(train)
    last = facts.last_batch
    return [
        f"ceil({rows} / {facts.batch}) = {facts.batches}: the last batch has {last} "
        f"row{'' if last == 1 else 's'}.",
        f"Undersampling would keep {fewest:,} rows of each class, {balanced:,} in all: "
        f"{-(-balanced // facts.batch)} batches. It balances the classes and throws away "
        f"{rows - balanced:,} rows.",
        "The accuracy of so small a batch says little (of one row it is 0 or 1), so the curves of "
        "question 9 are evaluated on all rows.",
    ]
