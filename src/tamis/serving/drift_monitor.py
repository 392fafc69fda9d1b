"""Texts outside of what was learnt: a sample of those judged is looked at behind the answers, in a
small share of the time.

Whether a text is out-of-distribution costs more than its verdict, so a thread looks at a few texts
and then rests for as long as keeps its share.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence

from tamis.classifier.text_classifier import TextClassifier
from tamis.compute.parallel import own_threads
from tamis.serving.worker import ASIDE_THREADS, Worker

SHARE = 0.05
"""Share of the time in which texts are looked at."""
AT_ONCE = 8
"""Texts of one look."""
CHARS = 2_000
"""Characters of a text that are looked at: enough for bits per byte, and no text can hold the
thread for long."""


class Drift(Worker):
    """The thread. Texts that come while it looks or rests are passed over, and so is what waits
    when it ends.
    """

    def __init__(self, looked: Callable[[str, list[bool]], None], *, share: float = SHARE) -> None:
        """`looked` is told, in the thread, a model's name and of each text whether it is
        out-of-distribution.
        """
        super().__init__("drift")
        self._looked, self._share = looked, share
        self._waiting: dict[str, tuple[TextClassifier, list[str]]] = {}
        self._chance = random.Random(42)

    def offer(self, model: str, classifier: TextClassifier, texts: Sequence[str]) -> None:
        """Texts that were judged; a sample is looked at where the model knows its limit and none of
        its texts wait.
        """
        if classifier.ood_detector_ is None or not texts or model in self._waiting:
            return
        some = texts if len(texts) <= AT_ONCE else self._chance.sample(texts, AT_ONCE)
        with self.changed:
            self._waiting[model] = (classifier, [text[:CHARS] for text in some])
            self.changed.notify()

    def _work(self) -> None:
        own_threads(ASIDE_THREADS)
        while True:
            with self.changed:
                self.changed.wait_for(lambda: self._closing or self._waiting)
                if self._closing:
                    return
                model = next(iter(self._waiting))
                classifier, texts = self._waiting[model]
            begun = time.monotonic()
            try:
                found = classifier.is_ood(texts, classifier.bits_per_byte(texts))
            except Exception:  # what it cannot look at is nothing to stop for
                found = []
            self._looked(model, [far for far in found if far is not None])
            rest_s = (time.monotonic() - begun) * (1 / self._share - 1)
            with self.changed:
                self.changed.wait_for(lambda: self._closing, timeout=rest_s)
                del self._waiting[model]
