"""Find label issues: rows of a labelled table to review before training.

There are three kinds: probable label errors, where the out-of-fold predictions of two models (a
linear head on language model features; TF-IDF with logistic regression) disagree with the label;
near-duplicates; and out-of-distribution texts. `data/review_table.py` reads and writes the results.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from tamis.data.deduplication import near_repeat_groups
from tamis.data.review_table import CONFLICT, COPY, LABEL_ERROR, Finding
from tamis.data.review_table import UNLIKE as OUTLIER
from tamis.data.tables import Table
from tamis.decision.calibration import softmax
from tamis.decision.out_of_distribution import fit_ood_limit, utf8_lengths
from tamis.evaluation.baselines import out_of_fold
from tamis.gpt2.backbones import Backbone
from tamis.gpt2.feature_cache import NO_CACHE, FeatureCache
from tamis.gpt2.likelihood import bits_per_byte
from tamis.gpt2.model import MeanPoolingBlock
from tamis.gpt2.pooling import add_mean_pooling
from tamis.head.linear_head import HeadRows, HeadSearch, fit_head
from tamis.head.refit import features_of
from tamis.progress import Progress
from tamis.text.encoding import EncodedTexts

UNLIKE = 4.0
"""A text is out-of-distribution if its bits per byte exceed the mean for its length by more than so
many standard deviations."""

Floats = NDArray[np.float64]
Rows = NDArray[np.int64]


def find_label_issues(head: Floats, words: Floats, targets: Rows) -> NDArray[np.bool_]:
    """Rows whose label has a mean probability below 1 / 2K, half of a uniform guess.

    Then neither model predicts that label: the predicted label has a probability of at least 1 / K.

    Args:
        head: (N, K) out-of-fold probabilities of the linear head.
        words: (N, K) out-of-fold probabilities of TF-IDF with logistic regression.
        targets: (N,) class numbers of the labels in the table.
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
    """(N, K) out-of-fold probabilities of a linear head: no row was in the training of the head
    that scored it. None if a class has too few rows.

    Args:
        backbone: used without training, with mean pooling.
        texts: N texts.
        targets: (N,) class numbers.
        groups: (N,) rows of one group are in the same fold.
        seed: seed of the folds.
        cache: stores features between calls.
        progress: receives progress updates.
    """
    trunk = (
        backbone.model
        if isinstance(backbone.model.h[-1], MeanPoolingBlock)
        else add_mean_pooling(backbone.model)
    )
    tokenizer = backbone.tokenizer.prepared(add_bos=backbone.tokenizer.end_of_text is not None)
    messages = EncodedTexts.encode(texts, tokenizer, context=trunk.config.n_positions)
    features = features_of(trunk, messages, cache=cache, progress=progress).astype(np.float64)
    rows = HeadRows(features, targets, np.ones(int(targets.max()) + 1), groups)
    head = fit_head(rows, HeadSearch(seed=seed), progress=progress)
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
    """All rows to review, sorted by importance: probable label errors first, the least probable
    label on top.

    Args:
        table: all rows of all parts.
        backbone: a pretrained backbone.
        seed: seed of the folds.
        unlike: also find out-of-distribution texts, which takes another pass of the language model.
        cache: stores features between calls.
        progress: receives progress updates.
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
    """Rows with a probable label error.

    Classes with a single group are skipped: a model that was not trained on that group does not
    know the class.
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
            reason=f"The label is probably wrong: the models expect {_named(classes, mean[row])}.",
            kind=LABEL_ERROR,
            exclude=True,
        )
        for row in rows[np.argsort(own[rows], kind="stable")].tolist()
    ]


def _named(classes: Sequence[str], probabilities: Floats) -> str:
    return repr(classes[int(probabilities.argmax())])


def _repeats(table: Table, groups: Rows) -> list[Finding]:
    """Near-duplicates. Groups with different labels are marked for exclusion; copies with the same
    label are not.
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
                f"Near-duplicates of this text have the labels {', '.join(sorted(labels[group]))}."
                if several
                else f"The text is a near-duplicate of row {begin}."
            )
            found.append(
                Finding(
                    row,
                    table.lines[row],
                    table.texts[row],
                    table.labels[row],
                    reason=reason,
                    kind=CONFLICT if several else COPY,
                    exclude=several,
                )
            )
    return sorted(found, key=lambda finding: not finding.exclude)


def unlike_rows(table: Table, bits: Floats) -> list[Finding]:
    """Rows whose bits per byte are out of distribution among the rows of the table."""
    limit = fit_ood_limit(bits, utf8_lengths(table.texts))
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
            reason=f"The text is out-of-distribution ({bits[row]:.1f} bits per byte).",
            kind=OUTLIER,
        )
        for row in rows
    ]
