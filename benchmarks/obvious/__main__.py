"""Obvious texts: 30 unwanted and 30 wanted everyday texts, judged by models of the whole SMS Spam
Collection, before and after they learn twenty corrections.

    python -m benchmarks.obvious --data DATA --out results.json --teacher FOLDER
    python -m benchmarks.obvious --out results.json --table

The methods are `tfidf`, `minilm` (a frozen sentence encoder, with `--teacher`) and
NAME=BACKBONE@TUNE for tamis; without `--method`, TF-IDF, the default model, and with `--teacher`
also the encoder. A method that is already in the file is measured again.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from benchmarks.obvious import methods
from benchmarks.obvious.table import by_text, figures, summary
from benchmarks.obvious.texts import fingerprint, texts


def main() -> None:
    """Measure the methods and write the results, or print the tables."""
    parser = _parser()
    options = parser.parse_args()
    judged, corrections = texts("judged"), texts("correction")
    results = _read(options.out)
    if not options.table:
        from tamis.cli.options import parse_setting
        from tamis.compute.device import apply, resolve
        from tamis.errors import TamisError

        data = None if options.data is None else options.data / "sms-spam" / "SMSSpamCollection"
        if data is None or not data.is_file():
            parser.error(
                f"--data {options.data}: expected a folder with sms-spam/SMSSpamCollection"
            )
        asked = options.method or ["tfidf", "nano=nano@auto"] + ["minilm"] * bool(options.teacher)
        try:
            settings = dict(parse_setting(text) for text in options.set) | {
                "compute.threads": options.threads
            }
            chosen = [methods.named(text, options.teacher, settings) for text in asked]
        except (TamisError, ValueError) as error:
            parser.error(str(error))
        apply(resolve("cpu", options.threads))
        for name, method in chosen:
            with TemporaryDirectory() as work:
                begun = time.perf_counter()
                judge = method(data, Path(work))
                fitted = time.perf_counter()
                found: dict[str, Any] = {"threshold": judge.threshold}
                for when, one in (("before", judge), ("after", judge.corrected(corrections))):
                    scores = np.asarray(one.probabilities([text.text for text in judged]))
                    found[when] = figures(judged, scores, judge.threshold)
            results["methods"][name] = found | {"fit_s": round(fitted - begun, 1)}
            options.out.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    print(f"{summary(judged, results['methods'])}\n\n{by_text(judged, results['methods'])}")


def _read(path: Path) -> dict[str, Any]:
    """The results of these texts; none if the file is of other texts."""
    empty: dict[str, Any] = {"texts": fingerprint(), "methods": {}}
    if not path.is_file():
        return empty
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found if found["texts"] == fingerprint() else empty


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, help="folder of the data sets")
    parser.add_argument("--out", type=Path, required=True, help="results file (JSON)")
    parser.add_argument(
        "--method",
        action="append",
        default=[],
        help="tfidf, minilm, or NAME=BACKBONE@TUNE for tamis",
    )
    parser.add_argument("--teacher", type=Path, help="folder of the sentence encoder for minilm")
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        help="a setting for every tamis method, e.g. text.normalize=words",
    )
    parser.add_argument("--threads", type=int, default=1, help="threads of torch")
    parser.add_argument("--table", action="store_true", help="print the tables")
    return parser


if __name__ == "__main__":
    main()
