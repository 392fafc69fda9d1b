r"""Speed benchmark: tamis and alternatives on one machine, in one run, in turn. The results are
ratios
and shares of the ceiling, not only seconds.

    PYTHONPATH=src:. python -m benchmarks.speed PART... --out FILE.jsonl \
        [--share 0.05] [--rounds 3] [--threads 1 2] [--neighbour]
    PYTHONPATH=src:. python -m benchmarks.speed show --out FILE.jsonl \
        [--markdown FILE.md] [--plot FILE.png]

Parts: job, frozen, blocks (three epochs of blocks:2), full (one epoch), inference, latency, start,
growth, length, few (16 labels a class); `all` for all of them. An interrupted run is resumed;
figures with other settings are kept. `show` prints tables and draws a plot of the existing figures.
With --neighbour every round is measured once more while another process keeps one core busy.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from benchmarks.speed import few, parts, results, shared
from benchmarks.speed.neighbour import add_option, busy_cores, loads
from benchmarks.speed.parts import Setting, Timed
from benchmarks.speed.plot import plot
from benchmarks.speed.results import Figure, Results, Settings
from tamis.classifier.saved_model import SavedModel, save_model
from tamis.cli.console import say
from tamis.compute import device as devices
from tamis.compute.matmul_benchmark import Dtype, measure_matmul
from tamis.gpt2.model import GPT2Classifier, GPT2Config
from tamis.gpt2.pooling import add_mean_pooling
from tamis.text.tokenizer import Tokenizer
from tamis.workflows.benchmark_contenders import Subject

Part = Callable[[Setting], Iterator[Timed]]
_ROUNDS_A_LOAD = 1000
"""More than the rounds of any run."""


@dataclass(frozen=True)
class Choice:
    """What is measured of a part."""

    only: Sequence[str] = ()
    """strings, one of which a contender must have in its name; none: all contenders"""
    neighbour: bool = False
    """whether every round is measured also while another process keeps one core busy"""

    def has(self, name: str) -> bool:
        """Return whether a contender is measured."""
        return not self.only or any(words in name for words in self.only)


EVERYTHING = Choice()


def parts_of(options: argparse.Namespace) -> dict[str, Part]:
    """Return every part by name, scaled by the options."""
    return {
        "job": partial(parts.job, loop_share=options.loop_share),
        "frozen": partial(parts.train, how="frozen", epochs=1),
        "blocks": partial(parts.train, how="blocks:2", epochs=3),
        "full": partial(parts.train, how="full", epochs=1),
        "inference": parts.inference,
        "latency": partial(parts.latency, calls=options.calls),
        "start": parts.start,
        "growth": partial(parts.growth, base=options.rows),
        "length": partial(parts.length, tokens=options.tokens),
        "few": partial(few.few, where=few.rivals_of(options)),
    }


def settings_of(options: argparse.Namespace, data: shared.Rows) -> dict[str, Settings]:
    """Return the settings that the figures of each part depend on, besides threads and round.

    Each has the name of its option; `data` is a fingerprint of the rows.
    """
    model: Settings = {"model": options.model}
    on_rows: Settings = {**model, "share": options.share, "data": data.fingerprint}
    read: Settings = {
        "pooling": options.pooling
    }  # whole jobs and trainings choose their own pooling
    return {
        "job": on_rows | ({"loop_share": options.loop_share} if options.loop_share < 1 else {}),
        **dict.fromkeys(("frozen", "blocks", "full"), on_rows),
        "inference": on_rows | read,
        "latency": model | read | {"calls": options.calls},
        "start": model | read,
        "growth": model | read | {"rows": options.rows},
        "length": model | read | {"tokens": options.tokens},
        "few": {"labels a class": few.LABELS_A_CLASS, "data": data.fingerprint},
    }


def measure(
    part: str,
    timed: Iterable[Timed],
    kept: Results,
    *,
    threads: int,
    rounds: int,
    settings: Settings,
    choice: Choice = EVERYTHING,
) -> None:
    """Measure the missing figures in rounds A B C, A B C, ..., each under every load."""
    contenders = [one for one in timed if choice.has(one.name)]
    if not contenders:
        say(f"{part}: no contender has {' or '.join(choice.only)} in its name")
    for number in range(rounds):
        for place, (load, taken) in enumerate(loads(choice.neighbour)):
            under = {**settings, "load": load} if load else settings
            missing = [
                one
                for one in contenders
                if not kept.has(results.key(part, one.variant, one.name, threads, number, under))
            ]
            if not missing:
                continue
            busy = busy_cores()
            others = {} if busy is None else {"busy cores before": round(busy, 2)}
            with taken:
                for one in missing:
                    # Another number for each load: contenders keep what they measured by number.
                    value = one.call(number + _ROUNDS_A_LOAD * place)
                    told = (part, one.variant, one.name, threads, number, value, one.unit)
                    about = {**one.about, **others}
                    kept.add(Figure(*told, one.size, about, dict(under)))
                    named = " ".join(filter(None, [one.name, one.variant, load]))
                    say(f"{part}, round {number + 1}: {named}: {value:.4g} {one.unit}")


def setting(place: Path, data: shared.Rows, *, size: str, pooling: str, threads: int) -> Setting:
    """Create a random GPT-2 as trunk and as classifier, and save it for contenders that read
    files.
    """
    if size == "tiny":
        tokenizer = Tokenizer.train(data.train_texts, vocab_size=400)
        config = GPT2Config(
            vocab_size=tokenizer.size, n_positions=256, n_embd=24, n_layer=2, n_head=2
        )
    else:
        tokenizer, config = shared.gpt2_tokenizer(), GPT2Config()
    pad = tokenizer.end_of_text or 0
    folder = shared.written(place / "trunk", shared.trunk(config), tokenizer, pad=pad)
    trunk = shared.trunk(config)
    if pooling == "mean":
        add_mean_pooling(trunk)
    prepared = tokenizer.prepared(add_bos=False)
    subject = Subject(
        size, GPT2Classifier(trunk, 2).requires_grad_(False).eval(), prepared, trained=False
    )
    save_model(place / "run", SavedModel(subject.model, prepared, ["ham", "spam"]))
    return Setting(
        subject,
        folder,
        place / "run",
        place,
        data,
        threads,
        worth_timing(devices.available_dtypes(), threads),
    )


def worth_timing(dtypes: Sequence[Dtype], threads: int) -> tuple[Dtype, ...]:
    """Return the types whose matrix products reach at least a tenth of fp32's speed; a type
    emulated in software would take hours.
    """
    speeds = {
        dtype: measure_matmul([(64, 768, 768)], dtype, 0.2, threads=threads) for dtype in dtypes
    }
    slow = [dtype for dtype, speed in speeds.items() if speed < speeds["fp32"] / 10]
    for dtype in slow:
        say(
            f"{dtype} is skipped: {speeds[dtype]:.2g} GFLOP/s in matrix products, fp32 "
            f"{speeds['fp32']:.3g}"
        )
    return tuple(dtype for dtype in dtypes if dtype not in slow)


def show(kept: Results, options: argparse.Namespace) -> None:
    """Print the table, and write the requested files."""
    print(results.plain(kept.figures))
    print("\n".join(results.beside(kept.figures)))
    times: dict[tuple[int, str], list[tuple[float, float]]] = {}
    for figure in kept.figures:
        if figure.part == "growth" and figure.variant == "time":
            asked = ", ".join(f"{name} {value}" for name, value in figure.settings.items())
            times.setdefault((figure.threads, asked), []).append((figure.size, figure.value))
    for (threads, asked), pairs in times.items():
        if len({size for size, _ in pairs}) > 1:
            about = ", ".join(filter(None, [f"growth, {threads} threads", asked]))
            print(
                f"{about}: seconds grow with the number of messages to the power of "
                f"{parts.exponent(pairs):.3f}"
            )
    if options.markdown:
        options.markdown.write_text(results.markdown(kept.figures), encoding="utf-8")
    if options.plot:
        plot({"": kept.figures}, options.plot)


def main(arguments: list[str] | None = None) -> None:
    """Parse the command line, measure, and show the results."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("parts", nargs="+", metavar="PART")
    parser.add_argument("--out", type=Path, required=True, help="JSON lines file")
    parser.add_argument("--data", default="sms-spam")
    parser.add_argument(
        "--share",
        type=float,
        default=1.0,
        help="share of the rows; the reference's loop over all rows takes nearly an hour",
    )
    parser.add_argument(
        "--loop-share",
        type=float,
        default=1.0,
        help="share of these rows that the reference's loop uses; its seconds are scaled",
    )
    parser.add_argument(
        "--contender",
        action="append",
        default=[],
        help="only contenders with this string in their names",
    )
    parser.add_argument("--rounds", type=int, default=3)
    add_option(parser)
    few.add_options(parser)
    parser.add_argument("--threads", type=int, nargs="+", default=[2])
    parser.add_argument("--rows", type=int, default=500, help="messages of the part growth at 1x")
    parser.add_argument(
        "--tokens", type=int, default=16384, help="tokens per length in the part length"
    )
    parser.add_argument("--calls", type=int, default=50, help="single messages per round")
    parser.add_argument("--model", choices=("gpt2", "tiny"), default="gpt2")
    parser.add_argument("--pooling", choices=("mean", "last"), default="mean")
    parser.add_argument("--markdown", type=Path)
    parser.add_argument("--plot", type=Path)
    options = parser.parse_args(arguments)
    known, kept = parts_of(options), Results(options.out)
    if options.parts != ["show"]:
        wanted = list(known) if options.parts == ["all"] else options.parts
        if unknown := [part for part in wanted if part not in known]:
            parser.error(
                f"unknown part {unknown[0]!r}; expected one of {', '.join(known)}, all, show"
            )
        data = shared.rows(options.data).part(options.share)
        settings = settings_of(options, data)
        for threads in options.threads:
            devices.apply(devices.resolve("cpu", threads, "fp32"))
            with tempfile.TemporaryDirectory() as place:
                of = setting(
                    Path(place), data, size=options.model, pooling=options.pooling, threads=threads
                )
                for part in wanted:
                    measure(
                        part,
                        known[part](of),
                        kept,
                        threads=threads,
                        rounds=options.rounds,
                        settings=settings[part],
                        choice=Choice(options.contender, options.neighbour),
                    )
    show(kept, options)


if __name__ == "__main__":
    main()
