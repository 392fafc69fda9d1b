"""Out-of-distribution monitoring: checks a sample of the classified texts in the background, in a
limited share of the time.

The check costs as much as a prediction, so a thread checks a few texts and then rests as long as
needed to keep its share.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from tamis.serving.worker import Worker, use_aside_threads

if TYPE_CHECKING:
    from tamis.export.loading import Classifier

SHARE = 0.05
"""Share of the time spent on checks."""
AT_ONCE = 8
"""Texts per check."""
CHARS = 2_000
"""Characters of a text that are checked: enough to know it, and few enough that no text keeps the
thread busy for long."""


class Drift(Worker):
    """The monitoring thread. Texts that arrive while it checks or rests are skipped, as are waiting
    texts when it ends.
    """

    def __init__(self, looked: Callable[[str, list[bool]], None], *, share: float = SHARE) -> None:
        """Create the thread.

        `looked` is called in the thread with a model's name and, for each text, whether it is
        out-of-distribution.
        """
        super().__init__("drift")
        self._looked, self._share = looked, share
        self._waiting: dict[str, tuple[Classifier, list[str]]] = {}
        self._chance = random.Random(42)

    def offer(self, model: str, classifier: Classifier, texts: Sequence[str]) -> None:
        """Offer classified texts; a sample is checked if the model has a limit and none waits."""
        if classifier.ood_detector_.limit is None or not texts or model in self._waiting:
            return
        some = texts if len(texts) <= AT_ONCE else self._chance.sample(texts, AT_ONCE)
        with self.changed:
            self._waiting[model] = (classifier, [text[:CHARS] for text in some])
            self.changed.notify()

    def _work(self) -> None:
        use_aside_threads()
        while True:
            with self.changed:
                self.changed.wait_for(lambda: self._closing or self._waiting)
                if self._closing:
                    return
                model = next(iter(self._waiting))
                classifier, texts = self._waiting[model]
            begun = time.monotonic()
            try:
                detector = classifier.ood_detector_
                found = detector.is_ood(texts, detector.scores(texts))
            except Exception:  # a failed check must not stop the thread
                found = []
            self._looked(model, [far for far in found if far is not None])
            rest_s = (time.monotonic() - begun) * (1 / self._share - 1)
            with self.changed:
                self.changed.wait_for(lambda: self._closing, timeout=rest_s)
                del self._waiting[model]
