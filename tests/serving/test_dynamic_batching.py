"""The batcher against `predict_proba`, and its line: who is gathered, who waits for whom, who is
refused.
"""

from __future__ import annotations

import asyncio
import copy
import threading
import time
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import fields, replace
from typing import Any

import numpy as np
import pytest
import torch

from tamis.classifier.predictor import Predictor
from tamis.classifier.text_classifier import TextClassifier
from tamis.serving.dynamic_batching import Batcher
from tamis.serving.errors import Refusal
from tamis.serving.limits import Limits
from tests.rows import messages

TEXTS = [text for _, text in messages()]
LONG = "a rather long text, longer than the context of this small model; " * 60


def run(
    scenario: Callable[[Batcher], Awaitable[None]],
    limits: Limits | None = None,
    *,
    budget: int = 1024,
    workers: int = 1,
    threads: int | None = None,
) -> None:
    """A scenario over a running batcher; nothing may take longer than ten seconds."""

    async def whole() -> None:
        batcher = Batcher(limits or Limits(), budget=budget, workers=workers, threads=threads)
        batcher.start()
        try:
            await asyncio.wait_for(scenario(batcher), 10)
        finally:
            await asyncio.to_thread(batcher.close)

    asyncio.run(whole())


def scored_by(classifier: TextClassifier, scorer: Callable[[Any], Any]) -> Any:
    """A classifier's predictor with another `scorer`, called whenever it is asked for."""
    kind = type("Watched", (type(classifier.predictor_),), {"scorer": property(scorer)})
    names = [field.name for field in fields(Predictor)]
    return kind(**{name: getattr(classifier.predictor_, name) for name in names})


class Gated:
    """A classifier whose batches wait for a gate, and say when they have come to it."""

    def __init__(self, classifier: TextClassifier, *, fault: Exception | None = None) -> None:
        self.open, self.reached = threading.Event(), threading.Event()
        self.classifier = copy.copy(classifier)

        def scorer(predictor: Any) -> Any:
            self.reached.set()
            self.open.wait(5)
            if fault is not None:
                raise fault
            return classifier.predictor_.scorer

        self.classifier.predictor_ = scored_by(classifier, scorer)

    async def busy(self, batcher: Batcher) -> asyncio.Task[Any]:
        """A request that stands at the gate."""
        task = asyncio.create_task(coroutine(batcher, self.classifier, ["first"]))
        await asyncio.to_thread(self.reached.wait, 5)
        return task


def coroutine(
    batcher: Batcher, classifier: TextClassifier, texts: list[str]
) -> Coroutine[Any, Any, Any]:
    return batcher.probabilities(classifier, texts)


async def standing(batcher: Batcher, count: int) -> None:
    while batcher.waiting < count:
        await asyncio.sleep(0.001)


@pytest.mark.parametrize("workers", [1, 3])
@pytest.mark.parametrize("budget", [1, 64, 1024])
def test_it_gives_what_predict_proba_gives(
    classifier: TextClassifier, budget: int, workers: int
) -> None:
    texts = ["", LONG, *TEXTS[:30], LONG + "more", TEXTS[3], "", "\x00"]

    async def scenario(batcher: Batcher) -> None:
        found = await batcher.probabilities(classifier, texts)
        np.testing.assert_allclose(found, classifier.predict_proba(texts), atol=1e-5)
        assert (await batcher.probabilities(classifier, [])).shape == (0, 2)
        each = await asyncio.gather(*(batcher.probabilities(classifier, [text]) for text in texts))
        np.testing.assert_allclose(np.concatenate(each), found, atol=1e-5)
        assert batcher.texts == len(set(texts)) + len(texts)

    run(scenario, budget=budget, workers=workers)


def test_workers_share_what_waits_and_one_thread_each(classifier: TextClassifier) -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    seen: list[tuple[int, int]] = []
    both = threading.Barrier(2)
    watched = copy.copy(classifier)

    def scorer(predictor: Any) -> Any:
        seen.append((threading.get_ident(), torch.get_num_threads()))
        if len(seen) > 1:
            both.wait(8)  # the two that share the line are under way at once
        return classifier.predictor_.scorer

    watched.predictor_ = scored_by(classifier, scorer)

    async def scenario(batcher: Batcher) -> None:
        await batcher.probabilities(watched, ["alone"])
        assert [threads for _, threads in seen] == [2]
        with batcher.changed:  # all of them stand in line before anybody looks
            for text in TEXTS[:40]:
                tasks.append(asyncio.create_task(coroutine(batcher, watched, [text])))
            for _ in range(3):
                await asyncio.sleep(0)
        await asyncio.gather(*tasks)
        assert [threads for _, threads in seen[1:]] == [1, 1] and len(
            {thread for thread, _ in seen[1:]}
        ) == 2

    tasks: list[asyncio.Task[Any]] = []
    try:
        run(scenario, workers=2, threads=2)
    finally:
        torch.set_num_threads(before)


def test_a_turn_is_over_before_its_answers_go_out(
    classifier: TextClassifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    under_way: list[int] = []
    answer = Batcher.answer

    def watched(self: Batcher, jobs: Any, error: Exception | None = None) -> None:
        under_way.append(self.busy)
        answer(self, jobs, error)

    monkeypatch.setattr(Batcher, "answer", watched)

    async def scenario(batcher: Batcher) -> None:
        await batcher.probabilities(classifier, TEXTS[:3])
        gate = Gated(classifier, fault=ValueError("spoilt"))
        gate.open.set()
        with pytest.raises(ValueError, match="spoilt"):
            await batcher.probabilities(gate.classifier, TEXTS[:1])

    run(scenario, workers=2)
    assert under_way == [0, 0]  # whoever asks again at once finds the machine free


def test_the_end_waits_for_every_worker(classifier: TextClassifier) -> None:
    async def scenario(batcher: Batcher) -> None:
        gates = [Gated(classifier) for _ in range(2)]
        tasks = [await gate.busy(batcher) for gate in gates]
        large = asyncio.create_task(coroutine(batcher, gates[0].classifier, TEXTS))
        await standing(batcher, 0)
        closing = asyncio.create_task(asyncio.to_thread(batcher.close))
        await asyncio.sleep(0.02)
        assert not closing.done()
        for gate in gates:
            gate.open.set()
        assert [len(rows) for rows in await asyncio.gather(*tasks, large)] == [1, 1, len(TEXTS)]
        await closing
        assert not any(thread.is_alive() for thread in batcher.threads)

    run(scenario, budget=64, workers=2)


def test_a_lone_request_is_a_turn_of_its_own_and_what_waits_is_gathered(
    classifier: TextClassifier,
) -> None:
    async def scenario(batcher: Batcher) -> None:
        gate = Gated(classifier)
        first = await gate.busy(batcher)
        others = [
            asyncio.create_task(coroutine(batcher, gate.classifier, [text])) for text in TEXTS[:20]
        ]
        await standing(batcher, 20)
        gate.open.set()
        found = await asyncio.gather(first, *others)
        np.testing.assert_allclose(
            np.concatenate(found[1:]), classifier.predict_proba(TEXTS[:20]), atol=1e-5
        )
        assert (batcher.turns, batcher.texts) == (2, 21)

    run(scenario)


def test_a_large_request_delays_a_small_one_by_a_turn(classifier: TextClassifier) -> None:
    async def scenario(batcher: Batcher) -> None:
        gate = Gated(classifier)
        first = await gate.busy(batcher)
        turns: dict[int, int] = {}
        deliver = batcher.answer

        def answer(jobs: Sequence[Any], error: Exception | None = None) -> None:
            turns.update((len(job.texts), batcher.turns) for job in jobs)
            deliver(jobs, error)

        # The worker notes the turn: when the event loop hears of an answer, more turns may be over.
        setattr(batcher, "answer", answer)  # noqa: B010
        texts = [f"{text} {number}" for number in range(4) for text in TEXTS]
        large = asyncio.create_task(coroutine(batcher, gate.classifier, texts))
        await standing(batcher, 1)
        small = asyncio.create_task(coroutine(batcher, gate.classifier, ["hello", "world"]))
        await standing(batcher, 2)
        gate.open.set()
        await asyncio.gather(first, large, small)
        assert turns[2] <= 4 < turns[len(set(texts))]

    run(scenario, budget=128)


def test_models_do_not_mix_and_neither_waits_for_the_others_end(classifier: TextClassifier) -> None:
    other = copy.copy(classifier)
    other.predictor_ = replace(
        classifier.predictor_, model=copy.deepcopy(classifier.predictor_.model)
    )
    other.predictor_.model.score.weight.data *= -1

    async def scenario(batcher: Batcher) -> None:
        order: list[str] = []

        async def ask(name: str, asked: TextClassifier, texts: list[str]) -> None:
            np.testing.assert_allclose(
                await batcher.probabilities(asked, texts), asked.predict_proba(texts), atol=1e-5
            )
            order.append(name)

        await asyncio.gather(ask("long", classifier, TEXTS), ask("short", other, TEXTS[:5]))
        assert order == ["short", "long"]
        order.clear()
        await asyncio.gather(
            *(ask("many", classifier, [text]) for text in TEXTS[:40]), ask("one", other, TEXTS[:1])
        )
        assert "one" in order[:20]

    run(scenario, budget=64)


def test_a_full_line_refuses_and_says_when_to_come_again(classifier: TextClassifier) -> None:
    async def scenario(batcher: Batcher) -> None:
        gate = Gated(classifier)
        first = await gate.busy(batcher)
        waiting = [
            asyncio.create_task(coroutine(batcher, gate.classifier, ["a"])) for _ in range(3)
        ]
        await standing(batcher, 3)
        with pytest.raises(Refusal) as error:
            await batcher.probabilities(gate.classifier, ["b"])
        assert error.value.status == 429 and int(error.value.response().headers["retry-after"]) >= 1
        gate.open.set()
        assert all(
            len(rows) == 1 for rows in await asyncio.gather(first, *waiting)
        )  # who was let in is answered

    run(scenario, Limits(queue_requests=3))


def test_too_long_a_wait_is_foreseen(classifier: TextClassifier) -> None:
    async def scenario(batcher: Batcher) -> None:
        await batcher.probabilities(classifier, TEXTS)  # now the speed is known
        gate = Gated(classifier)
        first = await gate.busy(batcher)
        tasks = []
        with pytest.raises(Refusal, match="too many texts are waiting"):
            for number in range(2_000):
                tasks.append(
                    asyncio.create_task(
                        coroutine(batcher, gate.classifier, [f"{text} {number}" for text in TEXTS])
                    )
                )
                await asyncio.sleep(0)
                if tasks[-1].done():
                    tasks.pop().result()
        assert tasks, "the first one must be let in, whatever its size"
        for task in tasks:
            task.cancel()
        gate.open.set()
        await first

    run(scenario, Limits(wait_s=0.5, queue_requests=10_000))


def test_who_waited_too_long_is_refused_at_last(classifier: TextClassifier) -> None:
    async def scenario(batcher: Batcher) -> None:
        gate = Gated(classifier)
        first = await gate.busy(batcher)
        late = asyncio.create_task(coroutine(batcher, gate.classifier, ["a"]))
        await standing(batcher, 1)
        await asyncio.sleep(0.15)
        gate.open.set()
        assert len(await first) == 1
        with pytest.raises(Refusal) as error:
            await late
        assert error.value.status == 429

    run(scenario, Limits(wait_s=0.1))


def test_who_went_away_is_not_computed(classifier: TextClassifier) -> None:
    async def scenario(batcher: Batcher) -> None:
        gate = Gated(classifier)
        first = await gate.busy(batcher)
        gone = asyncio.create_task(coroutine(batcher, gate.classifier, TEXTS))
        stays = asyncio.create_task(coroutine(batcher, gate.classifier, ["a"]))
        await standing(batcher, 2)
        gone.cancel()
        await asyncio.sleep(0)
        gate.open.set()
        await asyncio.gather(first, stays)
        assert batcher.texts == 2

    run(scenario)


def test_a_fault_of_the_model_reaches_who_asked_and_nobody_else(classifier: TextClassifier) -> None:
    async def scenario(batcher: Batcher) -> None:
        gate = Gated(classifier, fault=MemoryError("no room"))
        gate.open.set()
        with pytest.raises(MemoryError):
            await batcher.probabilities(gate.classifier, ["a"])
        assert batcher.alive and len(await batcher.probabilities(classifier, ["a"])) == 1

    run(scenario)


def test_the_end_comes_after_the_line(classifier: TextClassifier) -> None:
    async def scenario(batcher: Batcher) -> None:
        gate = Gated(classifier)
        first = await gate.busy(batcher)
        waiting = asyncio.create_task(coroutine(batcher, gate.classifier, TEXTS[:9]))
        await standing(batcher, 1)
        closing = asyncio.create_task(asyncio.to_thread(batcher.close))
        await asyncio.sleep(0.02)
        with pytest.raises(Refusal) as error:
            await batcher.probabilities(classifier, ["too late"])
        assert error.value.status == 503
        gate.open.set()
        assert [len(rows) for rows in await asyncio.gather(first, waiting)] == [1, 9]
        await closing
        assert not batcher.alive

    run(scenario)


def test_nothing_waits_for_company(classifier: TextClassifier) -> None:
    async def scenario(batcher: Batcher) -> None:
        await batcher.probabilities(classifier, ["warm"])
        times = []
        for number in range(20):
            await asyncio.sleep(0.005)  # idle
            begun = time.perf_counter()
            await batcher.probabilities(classifier, [f"text {number}"])
            middle = time.perf_counter()
            classifier.predict_proba([f"other {number}"])
            times.append((middle - begun, time.perf_counter() - middle))
        batched, bare = (min(column) for column in zip(*times, strict=True))
        assert batched < bare + 0.01, "a lone text costs hardly more than its own computing"

    run(scenario)
