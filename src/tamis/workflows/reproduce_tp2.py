"""`tamis reproduce tp2`: repeat the reference experiment, question by question, and compare
reported and obtained results; then train each improvement (remedy) alone and all together.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tamis.cache import cache_directory
from tamis.classifier.text_classifier import TextClassifier
from tamis.compute.versions import versions
from tamis.config import Recipe
from tamis.data.splits import DataSplit
from tamis.evaluation.baselines import fit_baselines
from tamis.evaluation.metrics import figures
from tamis.evaluation.report.plots import PlotData, write_all
from tamis.gpt2.backbones import Backbone, is_scratch, load_backbone, scratch_backbone
from tamis.gpt2.classification_head import head_shape, replace_head
from tamis.gpt2.feature_cache import FeatureCache
from tamis.progress import Progress, Silent
from tamis.training.callbacks import Callbacks
from tamis.workflows.dataset import load_dataset
from tamis.workflows.inspect_backbone import inspected

Say = Callable[[str], None]
POSITIVE = "spam"
REMEDIES: dict[str, dict[str, Any]] = {
    "5 epochs": {"train.epochs": 5},
    "undersampling": {"train.undersample": True},
    "head on the last token before the padding": {"text.pooling": "last_token"},
    "last block also trained": {"tune": "blocks:1"},
    "mean pooling": {"text.pooling": "mean"},
    "threshold for max_fpr = 0.2 %": {
        "decision.max_fpr": 0.002,
        "data.validation_share": 0.1,
    },
}
"""Improvements: those that the report suggests, and those that address the actual causes. Each is
trained alone, then all together."""
EXACT: dict[str, Any] = {
    "train.head_solver": "lbfgs",
    "text.pooling": "mean",
    "text.padding": "none",
    "text.add_bos": True,
    "train.class_weight": "balanced",
}


@dataclass(frozen=True)
class Row:
    """One row of the table."""

    question: str
    item: str
    reported: str
    obtained: str
    match: bool | None
    """None if nothing was reported, or if the values need not be equal (versions, another
    backbone)."""

    def to_dict(self) -> dict[str, Any]:
        """Convert to plain values, as for `--json`."""
        return asdict(self)

    @property
    def mark(self) -> str:
        """The value of `match` as text."""
        return {True: "equal", False: "differs", None: ""}[self.match]


class Table:
    """The rows of the result, in the order of the questions."""

    def __init__(self) -> None:
        """Create an empty table."""
        self.rows: list[Row] = []

    def add(
        self, question: str, item: str, obtained: Any, reported: Any = "", *, compare: bool = True
    ) -> None:
        """Add a row. It matches if both values have the same text."""
        shown, given = _shown(obtained), _shown(reported)
        self.rows.append(
            Row(question, item, given, shown, shown == given if given and compare else None)
        )


def reproduce_tp2(
    recipe: Recipe,
    data: str,
    *,
    remedies: bool = True,
    plots: Path | None = None,
    say: Say,
    progress: Progress | None = None,
) -> list[Row]:
    """Answer questions 1 to 10 of the reference experiment, then train the improvements.

    Args:
        recipe: the recipe `tp2`, with any backbone.
        data: file or name of a known data set.
        remedies: also train each improvement alone, all together, and the `lbfgs` head of tamis.
        plots: folder for the loss and accuracy curves of question 9.
        say: receives messages for the user.
        progress: receives progress updates.

    Raises:
        TamisError: the data or the backbone cannot be loaded.
    """
    table = Table()
    prepared = load_dataset(data, recipe)
    for note in prepared.notes:
        say(note)
    parts = prepared.split
    positive = POSITIVE if POSITIVE in parts.table.classes else recipe.data.positive
    recipe = recipe.changed({"data.positive": positive})
    scratch = is_scratch(recipe.backbone)
    backbone = (
        scratch_backbone(recipe.backbone, parts.texts("train"), seed=recipe.seed)
        if scratch
        else load_backbone(recipe.backbone)
    )
    _environment(table, recipe)
    _checkpoint(table, backbone)
    _data(table, parts, backbone, load_dataset(data, recipe).split, recipe)
    _head(table, backbone, len(parts.table.classes))
    runner = Runner(parts, FeatureCache(cache_directory() / "states"), progress)
    say("Training the reference: one epoch, head and final LayerNorm")
    classifier = runner.fit(recipe)
    _training(table, classifier, recipe, plots)
    _result(table, runner, classifier, recipe.backbone)
    if remedies:
        _remedies(table, runner, recipe, say)
    return table.rows


class Runner:
    """Fits recipes on the training rows of the split and evaluates them on the test rows. Features
    of the frozen trunk are cached.
    """

    def __init__(self, split: DataSplit, cache: FeatureCache, progress: Progress | None) -> None:
        """`cache` stores the features of the frozen trunk."""
        self.parts, self.store, self.progress = split, cache, progress

    def fit(self, recipe: Recipe) -> TextClassifier:
        """Fit a classifier on all training rows. With `max_fpr`, validation rows are held out."""
        return TextClassifier.from_recipe(recipe).fit(
            self.parts.texts("train"),
            self.parts.labels("train"),
            callbacks=Callbacks(progress=self.progress or Silent(), cache=self.store),
        )

    def evaluate(self, classifier: TextClassifier, part: Any = "test") -> dict[str, Any]:
        """Compute the metrics on a part of the split."""
        cache = self.store if classifier.recipe_.tune == "head" else None
        probabilities = classifier.predictor_.probabilities(self.parts.texts(part), cache=cache)
        names = [str(c) for c in classifier.classes_]
        threshold = classifier.rule_.threshold
        return figures(
            self.parts.labels(part),
            probabilities,
            names,
            positive=classifier.positive_,
            threshold=threshold,
        )


def _environment(table: Table, recipe: Recipe) -> None:
    table.add("all", "seed of Python, NumPy and PyTorch", recipe.seed, 42)
    reported = {
        "python": "3.12.12",
        "system": "Linux 6.14 x86_64 glibc 2.39",
        "torch": "2.9.1+cu128",
    }
    for name, version in versions().items():
        table.add("1", f"version of {name}", version, reported.get(name, ""), compare=False)
    table.add("1", "version of tensorflow (not needed here)", "none", "2.20.0", compare=False)


def _checkpoint(table: Table, backbone: Backbone) -> None:
    found = inspected(backbone)
    table.add("2", "backbone", backbone.name, "GPT-2 124M (OpenAI)", compare=False)
    table.add(
        "2",
        "keys of settings",
        sorted(found.settings),
        sorted(["n_vocab", "n_ctx", "n_embd", "n_head", "n_layer"]),
    )
    for key, value in {
        "n_vocab": 50257,
        "n_ctx": 1024,
        "n_embd": 768,
        "n_head": 12,
        "n_layer": 12,
    }.items():
        table.add("2", f"settings[{key!r}]", found.settings[key], value)
    params = found.params
    table.add("3", "keys of params", sorted(params), ["b", "blocks", "g", "wpe", "wte"])
    for key, shape in {"wte": (50257, 768), "wpe": (1024, 768), "b": (768,), "g": (768,)}.items():
        table.add("3", f"shape of params[{key!r}]", tuple(params[key]), shape)
    table.add("3", "blocks", f"list of {len(params['blocks'])}", "list of 12")
    table.add("3", "keys of a block", sorted(params["blocks"][0]), ["attn", "ln_1", "ln_2", "mlp"])
    keys = ["vocab_size", "emb_dim", "context_length", "n_layers", "n_heads", "dropout"]
    table.add("4", "keys of the configuration", sorted(found.config), sorted(keys))
    table.add("4", "configuration", ", ".join(f"{key} {found.config[key]}" for key in keys))


def _data(
    table: Table, split: DataSplit, backbone: Backbone, again: DataSplit, recipe: Recipe
) -> None:
    counts = {part: split.counts(part) for part in ("train", "test")}
    rows = {part: sum(counts[part].values()) for part in counts}
    same = np.array_equal(split.train, again.train) and np.array_equal(split.test, again.test)
    table.add("5.1", "rows", f"{rows['train']} train, {rows['test']} test", "4457 train, 1115 test")
    table.add("5.1", "split in a second run", "the same" if same else "different", "the same")
    reported = {"train": {"ham": 3860, "spam": 597}, "test": {"ham": 965, "spam": 150}}
    for part, classes in counts.items():
        for label, count in classes.items():
            given = reported[part].get(label)
            table.add(
                "5.2",
                f"{part}: {label}",
                f"{count} ({_percent(count / rows[part])})",
                "" if given is None else _count(given, part),
            )
    length = recipe.text.fixed_length or 120
    batch = recipe.train.batch_rows or 16
    tokens = [
        len(ids) for ids in backbone.tokenizer.prepared(add_bos=False).encode(split.texts("train"))
    ]
    table.add("6", "batch shapes", f"[{batch}, {length}] and [{batch}]", "[16, 120] and [16]")
    table.add(
        "6",
        f"train messages longer than {length} tokens (truncated)",
        sum(n > length for n in tokens),
    )
    table.add("7", "train rows, no undersampling", rows["train"], 4457)
    table.add("7", f"batches of {batch}", math.ceil(rows["train"] / batch), 279)


def _head(table: Table, backbone: Backbone, classes: int) -> None:
    model = backbone.model
    table.add(
        "8",
        "head before",
        _arrow(head_shape(model)),
        "768 -> 2 (the cell had been run twice)",
        compare=False,
    )
    once = replace_head(model, classes)
    table.add("8", "head after", _arrow(head_shape(once)), "768 -> 2")
    twice = replace_head(once, classes)
    same = bool((once.score.weight == twice.score.weight).all())
    table.add("8", "original head after a second run", _arrow(head_shape(model)))
    table.add(
        "8",
        "head after a second run",
        f"{_arrow(head_shape(twice))}, {'the same weights' if same else 'other weights'}",
    )
    trainable = {name: p.numel() for name, p in twice.named_parameters() if p.requires_grad}
    table.add(
        "8",
        "trainable",
        sorted(trainable),
        ["score.weight", "transformer.ln_f.bias", "transformer.ln_f.weight"],
        compare=False,
    )
    table.add("8", "trainable parameters", sum(trainable.values()))


def _training(table: Table, classifier: TextClassifier, recipe: Recipe, plots: Path | None) -> None:
    steps = [row for row in classifier.training_.history if "loss" in row]
    losses = np.array([row["loss"] for row in steps])
    train = recipe.train
    table.add(
        "9",
        "optimizer (assumed)",
        f"AdamW, learning rate {train.learning_rate:g}, weight decay {train.weight_decay:g}",
    )
    table.add("9", "class weights (assumed)", "n / (K * n_class)")
    table.add("9", "epochs", train.epochs, 1)
    table.add("9", "steps", len(steps), 279)
    tenth = max(1, len(losses) // 10)
    table.add(
        "9",
        "loss, mean of the first and of the last tenth",
        f"{losses[:tenth].mean():.3f} and {losses[-tenth:].mean():.3f}",
    )
    low, high = np.percentile(losses, [5, 95])
    table.add(
        "9",
        "loss, 5th and 95th percentile of the steps",
        f"{low:.2f} and {high:.2f}",
        "about 0.5 and 0.9",
        compare=False,
    )
    accuracies = [row["accuracy"] for row in steps]
    table.add(
        "9",
        "batch accuracy, first and last tenth",
        f"{np.mean(accuracies[:tenth]):.3f} and {np.mean(accuracies[-tenth:]):.3f}",
    )
    if plots is not None:
        classes, history = [str(c) for c in classifier.classes_], classifier.training_.history
        written = write_all(plots, PlotData(classes, history=history))
        table.add(
            "9",
            "curves",
            ", ".join(str(path) for path in written.values()),
            "three figures",
            compare=False,
        )


def _result(table: Table, runner: Runner, classifier: TextClassifier, backbone: str) -> None:
    train, test = runner.evaluate(classifier, "train"), runner.evaluate(classifier)
    table.add("10", "train accuracy", _percent(train["accuracy"]), "about 86 %", compare=False)
    table.add("10", "test accuracy", _with_interval(test, "accuracy"), "about 86 %", compare=False)
    table.add(
        "10",
        f"test accuracy on {classifier.positive_} (recall)",
        _with_interval(test, "recall"),
        "0 %",
        compare=False,
    )
    table.add("10", "test figures", _line(test))
    if backbone != "gpt2":
        table.add(
            "10", "note", f"the results are those of {backbone}, not of GPT-2 124M", compare=False
        )


def _remedies(table: Table, runner: Runner, recipe: Recipe, say: Say) -> None:
    parts = runner.parts
    runs = {name: recipe.changed(changes) for name, changes in REMEDIES.items()}
    together: dict[str, Any] = {}
    for changes in REMEDIES.values():
        together |= changes
    runs["all remedies together"] = recipe.changed(together)
    runs["lbfgs head, mean pooling, no padding (tamis)"] = recipe.changed(EXACT)
    for name, changed in runs.items():
        say(f"Training remedy: {name}")
        table.add("remedy", name, _line(runner.evaluate(runner.fit(changed))))
    classes = sorted(set(parts.labels("train")))
    rival = fit_baselines(
        parts.texts("train"), parts.labels("train"), parts.texts("test"), classes
    )["tfidf"]
    positive = recipe.data.positive if len(classes) == 2 else None
    judged = figures(
        parts.labels("test"), rival.probabilities, classes, positive=positive, threshold=0.5
    )
    table.add("rival", "TF-IDF with logistic regression", _line(judged))


def _line(found: dict[str, Any]) -> str:
    cells = [f"accuracy {_percent(found['accuracy'])}", f"recall {_percent(found['recall'])}"]
    if found["false_positive_rate"] is not None:
        cells.append(f"ham blocked {_percent(found['false_positive_rate'])}")
    cells.append(f"F1 {found['f1']:.3f}")
    if found["average_precision"] is not None:
        cells.append(f"average precision {found['average_precision']:.3f}")
    return ", ".join(cells)


def _with_interval(found: dict[str, Any], key: str) -> str:
    if found[key] is None:
        return "undefined"
    low, high = found["ci95"][key]
    return f"{_percent(found[key])} ({_percent(low)} to {_percent(high)})"


def _count(count: int, part: str) -> str:
    return f"{count} ({_percent(count / {'train': 4457, 'test': 1115}[part])})"


def _percent(share: float | None) -> str:
    return "undefined" if share is None else f"{100 * share:.1f} %"


def _arrow(shape: tuple[int, int]) -> str:
    return f"{shape[0]} -> {shape[1]}"


def _shown(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)
