"""Write a classifier as an exported folder (the package's docstring shows it)."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tamis.classifier.model_folder import META
from tamis.classifier.saved_model import weights_hash
from tamis.classifier.text_classifier import TextClassifier
from tamis.compute.versions import versions
from tamis.errors import MissingExtraError, NotFittedError
from tamis.export.description import FP32, INT8, ModelDescription, WindowCut
from tamis.export.folder import MODEL, SCRIPT, TOKENIZER
from tamis.export.onnx_session import KEY
from tamis.files import as_path, replaced_folder, sha256, write_text
from tamis.gpt2.model import GPT2Classifier, MeanPoolingBlock
from tamis.progress import Progress
from tamis.text.tokenizer import Tokenizer
from tamis.text.windows import OVERLAP

if TYPE_CHECKING:
    from tamis.export.int8_selection import Int8Choice


@dataclass(frozen=True)
class ExportOptions:
    """How a classifier is exported."""

    int8: bool = False
    """store matrices in 8 bits, except those that change too many labels"""
    texts: Sequence[str] = ()
    """for `int8`: texts, best held out, on which labels are compared"""
    opset: int | None = None
    """version of ONNX's operators; None: the default"""
    about: dict[str, Any] | None = None
    """facts about the model for people"""


def export_onnx(
    classifier: TextClassifier,
    folder: Path | str,
    options: ExportOptions | None = None,
    *,
    check: Callable[[Path], None] | None = None,
    progress: Progress | None = None,
) -> ModelDescription:
    """Write a classifier as an exported folder, atomically; an existing folder is replaced.

    Args:
        classifier: fitted or loaded.
        folder: the folder.
        options: precision and operators.
        check: is called with the new folder before it replaces another one; if it raises, nothing
            is replaced.
        progress: receives progress updates of the choice of matrices.

    Returns:
        The description of the exported model.

    Raises:
        NotFittedError: the classifier is not fitted.
        ConfigError: `folder` is no path, the opset is not supported, or int8 is asked for without
            texts.
        MissingExtraError: onnx is not installed; for int8 also onnxruntime.
    """
    options = options or ExportOptions()
    folder = as_path(folder, "folder")
    import_onnx()
    from tamis.export.int8_selection import Judge, choose_int8
    from tamis.gpt2.onnx.network import OPSET, NetworkOptions, check_opset, write_network

    opset = options.opset or OPSET
    check_opset(opset)
    if not classifier.__sklearn_is_fitted__():
        raise NotFittedError("only a fitted classifier can be exported; call fit or load first")
    predictor = classifier.predictor_
    model = predictor.exact_model()
    choice = None
    if options.int8:
        labels, threads = [str(label) for label in classifier.classes_], predictor.compute.threads
        judge = Judge(predictor.encoder, classifier.rule_, labels, options.texts, threads)
        choice = choose_int8(model, judge, opset, progress=progress)
    description = describe(classifier, model, opset=opset, choice=choice, about=options.about)
    matrices = frozenset(choice.int8) if choice else frozenset()
    with replaced_folder(folder) as beside:
        metadata = {KEY: json.dumps(description.to_dict(), ensure_ascii=False)}
        written = write_network(model, beside / MODEL, NetworkOptions(opset, matrices), metadata)
        tokenizer = predictor.tokenizer.without_special_tokens().backend
        write_text(beside / TOKENIZER, tokenizer.to_str(pretty=True))
        script = resources.files("tamis.export") / "templates" / "predict.txt"
        write_text(beside / SCRIPT, script.read_text(encoding="utf-8"))
        files = [*(path.name for path in written), TOKENIZER, SCRIPT]
        meta = {
            **description.to_dict(),
            "files": {name: sha256(beside / name) for name in files},
        }
        write_text(beside / META, json.dumps(meta, indent=2, ensure_ascii=False) + "\n")
        if check is not None:
            check(beside)
    return description


def import_onnx() -> None:
    """Check that onnx is installed.

    Raises:
        MissingExtraError: it is not.
    """
    try:
        import onnx  # noqa: F401
    except ImportError:
        raise MissingExtraError("onnx", extra="onnx", purpose="exporting to ONNX") from None


def describe(
    classifier: TextClassifier,
    model: GPT2Classifier,
    *,
    opset: int,
    choice: Int8Choice | None = None,
    about: dict[str, Any] | None = None,
) -> ModelDescription:
    """Return the description of a classifier; `choice` are its 8-bit matrices, `about` facts for
    people.
    """
    encoder, config = classifier.predictor_.encoder, model.transformer.config
    recipe, text = classifier.recipe_, classifier.recipe_.text
    names = ("vocab_size", "n_positions", "n_embd", "n_head")
    pooled = isinstance(model.transformer.h[-1], MeanPoolingBlock)
    precision: dict[str, Any] = {"type": FP32}
    if choice is not None:
        precision = {"type": INT8, **choice.to_dict()}
    return ModelDescription(
        labels=tuple(str(label) for label in classifier.classes_),
        label_type=label_type(classifier),
        rule=classifier.rule_,
        windows=WindowCut(
            context=encoder.context,
            size=min(encoder.window or encoder.context, encoder.context),
            begin=int(encoder.tokenizer.begins),
            overlap=OVERLAP,
            positive=encoder.aggregation.positive,
            penalty=encoder.aggregation.penalty,
        ),
        empty_id=empty_id(encoder.tokenizer),
        dropped_id=encoder.tokenizer.dropped,
        network={
            **{name: getattr(config, name) for name in names},
            "n_layer": config.n_layer - pooled,
            "pooling": "mean" if pooled else text.pooling,
            "opset": opset,
        },
        precision=precision,
        calibration={"temperature": classifier.temperature_},
        source={
            "backbone": recipe.backbone,
            "tune": recipe.tune,
            "recipe": recipe.model_dump(mode="json"),
            "weights": weights_hash(model),
            "version": versions()["tamis"],
            **(about or {}),
        },
    )


def label_type(classifier: TextClassifier) -> str:
    """Return the type of the labels that `fit` was given."""
    kinds = {"b": "bool", "i": "int", "u": "int", "f": "float"}
    return kinds.get(classifier.classes_.dtype.kind, "str")


def empty_id(tokenizer: Tokenizer) -> int:
    """Return the id that stands for a text without tokens."""
    return int(tokenizer.encode([""])[0][0])
