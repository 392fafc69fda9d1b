"""Rows of a labelled table that a person should look at before it trains anything.

Two witnesses that have not seen a row, a solved head on a language model's features and TF-IDF with
logistic regression, both doubt its label; a near-repeat bears another label; a text is unlike all
others. `data.review` has the table that comes of it.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from tamis.data.deduplication import near_repeat_groups
from tamis.data.review_table import Finding
from tamis.data.tables import Table
from tamis.decision.calibration import softmax
from tamis.decision.out_of_distribution import fit_ood_detector, utf8_lengths
from tamis.evaluation.baselines import out_of_fold
from tamis.gpt2.backbones import Backbone
from tamis.gpt2.feature_cache import NO_CACHE, FeatureCache
from tamis.gpt2.likelihood import bits_per_byte
from tamis.gpt2.model import MeanPoolingBlock
from tamis.gpt2.pooling import add_mean_pooling
from tamis.head.linear_head import fit_head
from tamis.head.refit import features_of
from tamis.progress import Progress
from tamis.text.encoding import EncodedTexts

UNLIKE = 4.0
"""Standard deviations of bits per byte, for texts of its length, from which a text is unlike the
others."""

Floats = NDArray[np.float64]
Rows = NDArray[np.int64]


def find_label_issues(head: Floats, words: Floats, targets: Rows) -> NDArray[np.bool_]:
    """Rows whose label both witnesses together give less than half an even chance, 1 / 2K.

    Neither of them would have given that label then: the label that a witness gives has an even
    chance with it at least.

    Args:
        head: (N, K) out-of-fold probabilities of the head.
        words: (N, K) the same of TF-IDF.
        targets: (N,) class numbers as they stand in the table.
    """
    mean = (head + words) / 2
    return np.asarray(mean[np.arange(len(targets)), targets] < 0.5 / mean.shape[1])


def head_out_of_fold(
    backbone: Backbone,
    texts: Sequence[str],
    targets: Rows,
    groups: Rows,
    *,
    seed: int = 42,
    cache: FeatureCache = NO_CACHE,
    progress: Progress | None = None,
) -> Floats | None:
    """(N, K) probabilities of every row from a head that saw neither it nor its group; None where a
    class has too few rows for that.

    Args:
        backbone: its trunk is read as it is, with mean pooling.
        texts: N texts.
        targets: (N,) class numbers.
        groups: (N,) rows of one group stay together.
        seed: of the folds.
        cache: keeps the features between calls.
        progress: is told what goes on.
    """
    trunk = (
        backbone.model
        if isinstance(backbone.model.h[-1], MeanPoolingBlock)
        else add_mean_pooling(backbone.model)
    )
    tokenizer = backbone.tokenizer.prepared(add_bos=backbone.tokenizer.end_of_text is not None)
    messages = EncodedTexts.encode(texts, tokenizer, context=trunk.config.n_positions)
    features = features_of(trunk, messages, cache=cache, progress=progress).astype(np.float64)
    head = fit_head(
        features,
        targets,
        np.ones(int(targets.max()) + 1),
        groups=groups,
        seed=seed,
        progress=progress,
    )
    return None if head.out_of_fold is None else softmax(head.out_of_fold)


def examine(
    table: Table,
    backbone: Backbone,
    *,
    seed: int = 42,
    unlike: bool = True,
    cache: FeatureCache = NO_CACHE,
    progress: Progress | None = None,
) -> list[Finding]:
    """What is to be reviewed, row by row in the order of how much it matters: doubted labels first,
    the most doubted on top.

    Args:
        table: all rows, whatever part they fall into.
        backbone: a pretrained one.
        seed: of the folds.
        unlike: also look for texts unlike the rest, which costs a pass over the vocabulary.
        cache: keeps features between calls.
        progress: is told what goes on.
    """
    groups = near_repeat_groups(table.texts)
    findings = _label_issues(table, groups, backbone, seed=seed, cache=cache, progress=progress)
    taken = {finding.row for finding in findings}
    findings += [finding for finding in _repeats(table, groups) if finding.row not in taken]
    if unlike:
        bits = bits_per_byte(backbone.model, table.texts, backbone.tokenizer, progress=progress)
        findings += [finding for finding in unlike_rows(table, bits) if finding.row not in taken]
    return findings


def _label_issues(
    whole: Table,
    groups: Rows,
    backbone: Backbone,
    *,
    seed: int,
    cache: FeatureCache,
    progress: Progress | None,
) -> list[Finding]:
    """Rows whose label both witnesses doubt.

    Rows of a class with a single group are not judged: no witness that has not seen them knows
    their label.
    """
    kinds = np.array(whole.labels)
    known = [name for name in whole.classes if len(np.unique(groups[kinds == name])) > 1]
    judged = np.flatnonzero(np.isin(kinds, known))
    if len(known) < 2:
        return []
    table, groups, classes = whole.select(judged.tolist()), groups[judged], known
    targets = np.array([classes.index(label) for label in table.labels], dtype=np.int64)
    head = head_out_of_fold(
        backbone, table.texts, targets, groups, seed=seed, cache=cache, progress=progress
    )
    words = out_of_fold(table.texts, table.labels, groups.tolist(), seed=seed)
    if head is None:
        return []
    mean = (head + words) / 2
    own = mean[np.arange(len(targets)), targets]
    rows = np.flatnonzero(find_label_issues(head, words, targets))
    return [
        Finding(
            int(judged[row]),
            table.lines[row],
            table.texts[row],
            table.labels[row],
            suggested=classes[int(mean[row].argmax())],
            p_model=float(head[row, targets[row]]),
            p_tfidf=float(words[row, targets[row]]),
            reason="label doubted by both",
            exclude=True,
        )
        for row in rows[np.argsort(own[rows], kind="stable")].tolist()
    ]


def _repeats(table: Table, groups: Rows) -> list[Finding]:
    """Near-repeats: those whose group bears several labels are to be left out, further copies with
    the same label may stay.
    """
    first: dict[int, int] = {}
    labels: dict[int, set[str]] = {}
    for row, group in enumerate(groups.tolist()):
        first.setdefault(group, row)
        labels.setdefault(group, set()).add(table.labels[row])
    found = []
    for row, group in enumerate(groups.tolist()):
        several, begin = len(labels[group]) > 1, first[group]
        if several or row != begin:
            reason = (
                f"near-repeat with labels {', '.join(sorted(labels[group]))}"
                if several
                else f"near-repeat of row {begin}"
            )
            found.append(
                Finding(
                    row,
                    table.lines[row],
                    table.texts[row],
                    table.labels[row],
                    reason=reason,
                    exclude=several,
                )
            )
    return sorted(found, key=lambda finding: not finding.exclude)


def unlike_rows(table: Table, bits: Floats) -> list[Finding]:
    """Rows whose bits per byte are out of distribution among the rows of the table."""
    limit = fit_ood_detector(bits, utf8_lengths(table.texts))
    if limit is None:
        return []
    mean, spread = limit.expected(utf8_lengths(table.texts))
    away = (bits - mean) / spread
    rows = [row for row in np.argsort(-away, kind="stable").tolist() if away[row] > UNLIKE]
    return [
        Finding(
            row,
            table.lines[row],
            table.texts[row],
            table.labels[row],
            reason=f"unlike the others ({bits[row]:.1f} bits per byte)",
        )
        for row in rows
    ]
