"""The recipe: every setting once, with its text, unit and default; TOML in and out.

Help texts, the documentation's table and the resolved `recipe.toml` of a run are made from these
fields. A setting that is left at `None` is resolved by what it depends on (how much is trained,
whether the backbone is pretrained); the run's recipe shows the outcome.
"""

from __future__ import annotations

import difflib
import json
import re
import tomllib
from collections.abc import Iterator, Mapping
from decimal import Decimal, InvalidOperation
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, field_validator

from tamis.errors import ConfigError


def parse_percent(value: Any) -> Any:
    """A share written as `0.2%` as a number; anything else as it is."""
    if not (isinstance(value, str) and value.strip().endswith("%")):
        return value
    try:
        return float(Decimal(value.strip()[:-1].strip()) / 100)  # 0.1 % is the same number as 0.001
    except InvalidOperation:
        return value


def toml_value(value: Any) -> str:
    """A value as TOML writes it."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    if isinstance(value, dict):
        pairs = (
            f"{key if re.fullmatch(r'[A-Za-z0-9_-]+', key) else toml_value(key)} = "
            f"{toml_value(item)}"
            for key, item in value.items()
        )
        return "{ " + ", ".join(pairs) + " }"
    return repr(value)


def _pairs(value: Any) -> Any:
    """`a=1,b=2`, as a table is written on the command line, as one; anything else as it is."""
    if isinstance(value, str) and "=" in value:
        return {
            name.strip(): number
            for name, _, number in (part.rpartition("=") for part in value.split(","))
        }
    return value


Share = Annotated[float, BeforeValidator(parse_percent), Field(ge=0, le=1)]
Prior = Annotated[
    Literal["rows", "trained"] | Annotated[float, Field(gt=0, lt=1)], BeforeValidator(parse_percent)
]
ClassWeight = Annotated[
    Literal["none", "balanced"] | dict[str, Annotated[float, Field(gt=0)]], BeforeValidator(_pairs)
]
Costs = Annotated[
    dict[Literal["blocked", "missed", "unsure"], Annotated[float, Field(gt=0)]],
    BeforeValidator(_pairs),
]


class Section(BaseModel):
    """A part of a recipe: unknown names are refused, texts of settings are their docstrings."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", use_attribute_docstrings=True, defer_build=True
    )

    @classmethod
    def __pydantic_init_subclass__(cls, **options: Any) -> None:
        """A setting's text is one line, however it is wrapped in the source."""
        super().__pydantic_init_subclass__(**options)
        for field in cls.model_fields.values():
            if field.description is not None:
                field.description = " ".join(field.description.split())


class DataSettings(Section):
    """Which rows are read, and how they are divided."""

    # A column or a label may be a number, in TOML as on the command line.
    model_config = ConfigDict(coerce_numbers_to_str=True)

    split: Literal["leakfree", "tp2", "almeida", "stratified", "none"] = "leakfree"
    """division into training and test rows; repeats never cross in `leakfree`"""
    text: str | None = None
    """column of the texts, by name or 1-based number; found where it can be told"""
    label: str | None = None
    """column of the labels, by name or 1-based number; found where it can be told"""
    test: str | None = None
    """file with test rows of its own; DATA is not divided then"""
    exclude: str | None = None
    """rows to train without: a review table of `tamis data DATA --label-issues FILE`, or a .txt
    with a row number (from 0) a line"""
    positive: str | None = None
    """label that recall, precision, the threshold and what is chosen on the way are about; the
    rarer one by default (two classes)"""
    validation_share: Annotated[float, Field(ge=0, lt=1)] = 0.1
    """share of the training rows held out for early stopping and the threshold"""


class TextSettings(Section):
    """What a text becomes before the model sees it."""

    add_bos: bool = True
    """put `<|endoftext|>` before every message"""
    normalize: Literal["none", "nfkc", "robust"] = "none"
    """`nfkc` folds full-width forms and drops invisible characters; `robust` also undoes
    look-alikes, split words and leetspeak"""
    window: Annotated[int, Field(ge=8)] | None = None
    """tokens of a window where a text is longer than the context; by default as many as 95 of 100
    training texts have at most"""
    window_penalty: Annotated[float, Field(ge=0)] | None = None
    """times log n that the strongest of n windows is lowered by (two classes); by default learnt
    from held-out rows, or 1"""
    padding: Annotated[str, Field(pattern=r"^(none|fixed:[1-9][0-9]*)$")] = "none"
    """`none`, or `fixed:N`: cut and filled to N tokens as the reference does with 120"""
    pooling: Literal[
        "auto", "mean", "attention", "last_token", "mean_and_last", "last_position"
    ] = "auto"
    """what the head reads: `mean` of tokens, `attention` (a trained mean, as `blocks:K` has
    anyway), `last_token`, `mean_and_last`, padded `last_position`"""
    layers: Literal["auto"] | Annotated[int, Field(ge=1)] = "auto"
    """blocks of the backbone kept; `auto`: all; head alone: as many (and, where open, the position)
    as do best out of fold"""

    @property
    def fixed_length(self) -> int | None:
        """N of `padding = "fixed:N"`, in tokens."""
        return None if self.padding == "none" else int(self.padding.removeprefix("fixed:"))


class TrainSettings(Section):
    """How the trained part is trained."""

    class_weight: ClassWeight = "none"
    """weight of a row in the loss: `none`, `balanced` (N / (K * rows of the class)) or a weight by
    label"""
    undersample: bool = False
    """train on as many rows of every class as the rarest has, drawn anew each epoch (a solved head:
    once)"""
    augment_positives: Annotated[float, Field(ge=0)] = 0.0
    """attacked copies of each training row of the positive class (every class, where there are more
    than two); a fraction is a chance"""
    augment_negatives: Annotated[float, Field(ge=0)] = 0.0
    """attacked copies of each training row of the negative class; a fraction is a chance"""
    augment_weight: Annotated[float, Field(gt=0)] = 0.5
    """weight of a copy beside its row's 1 where the head is solved exactly; the loop takes every
    copy as a row"""
    head_solver: Literal["lbfgs", "adamw"] = "lbfgs"
    """with `tune = "head"`: solve the head to its optimum, or mini-batch epochs over head and final
    LayerNorm (the reference)"""
    head_init: Literal["linear_probe", "random"] | None = None
    """where blocks are trained: the head begins at the optimum on the untouched backbone's
    features, or at random"""
    wise_ft: Literal["auto"] | Share | None = None
    """share of the weights before training in those that come out, both averaged (0: training's
    own; `auto`: as held-out rows say)"""
    epochs: Annotated[int, Field(ge=1)] | None = None
    """passes over the training rows"""
    learning_rate: Annotated[float, Field(gt=0)] | None = None
    """peak learning rate of AdamW"""
    head_learning_rate: Annotated[float, Field(gt=0)] | None = None
    """peak learning rate of the head's own weights"""
    weight_decay: Annotated[float, Field(ge=0)] = 0.1
    """decay of matrices, a step's share of the learning rate"""
    decay_everything: bool = False
    """decay LayerNorms, biases and embeddings too, as the reference's optimizer does"""
    warmup_ratio: Share = 0.1
    """share of all steps over which the learning rate rises to its peak"""
    schedule: Literal["cosine", "constant"] = "cosine"
    """learning rate after the warm-up"""
    clip_norm: Annotated[float, Field(ge=0)] = 1.0
    """longest gradient, 0 for no limit"""
    batch_tokens: Annotated[int, Field(ge=1)] | None = None
    """tokens an optimiser step, rows drawn at random until they are full"""
    batch_rows: Annotated[int, Field(ge=1)] | None = None
    """rows an optimiser step; replaces `batch_tokens`"""
    micro_batch_tokens: Annotated[int, Field(ge=1)] = 4096
    """tokens computed at once; bounds the memory, never changes a result"""
    dropout: Annotated[float, Field(ge=0, lt=1)] | None = None
    """share of activations dropped while training"""
    token_dropout: Annotated[float, Field(ge=0, lt=1)] | None = None
    """share of tokens left out of each message while everything is trained, drawn anew each time"""
    bpe_dropout: Annotated[float, Field(ge=0, lt=1)] | None = None
    """share of the tokenizer's merges left out while everything is trained, drawn anew each epoch:
    words in other pieces"""
    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """share of each target spread over all classes"""
    lm_loss_weight: Annotated[float, Field(ge=0)] | None = None
    """weight of the next-token loss beside the class loss (everything trained only)"""
    lm_loss_share: Annotated[float, Field(gt=0, le=1)] = 1.0
    """share of the positions whose next token is predicted in a step, drawn at random; the loss
    stays unbiased"""
    patience: Annotated[int, Field(ge=0)] = 3
    """epochs worse than the best by validation average precision before training stops, 0 for no
    limit"""

    @field_validator("patience", mode="before")
    @classmethod
    def _no_limit(cls, value: Any) -> Any:
        """`none` is no limit; written as 0, since TOML cannot say none and 3 would come back."""
        return 0 if value is None else value


class DecisionSettings(Section):
    """From probabilities to verdicts."""

    max_fpr: Share | None = None
    """budget: largest share of negatives (ham) that may be blocked; without it the threshold has
    the best F1"""
    costs: Costs | None = None
    """what mistakes cost, e.g. `blocked=10,missed=1`: the threshold with the least expected cost;
    `unsure=0.5` is what asking costs"""
    prior: Prior = "rows"
    """share of the positive class to come: as in the `rows`, a number (2%), or as `trained`; of
    more than two classes weights stand"""
    cv_folds: Annotated[int, Field(ge=0, le=20)] | None = None
    """where blocks are trained: parts of the training rows, each judged by a model trained on the
    others; 0: some rows are held out"""
    abstain_rate: Share = 0.015
    """share of messages, the likeliest to be judged wrong, whose verdict is `unsure`; with a cost
    of `unsure` the costs decide"""

    @field_validator("costs")
    @classmethod
    def _both_costs(cls, value: Costs | None) -> Costs | None:
        """A threshold weighs one mistake against the other."""
        if value is not None and not {"blocked", "missed"} <= set(value):
            raise ValueError(
                "needs the cost of a blocked negative and of a missed positive, as "
                "blocked=10,missed=1"
            )
        return value


class ComputeSettings(Section):
    """Where and how it is computed."""

    device: str = "auto"
    """`auto`, `cpu`, `cuda` or `cuda:N`"""
    threads: Annotated[int, Field(ge=1)] | None = None
    """processor threads; all cores this process may use by default"""
    dtype: Literal["fp32", "bf16", "int8", "auto"] = "fp32"
    """precision of the frozen trunk and of training; `auto` takes the fastest measured here"""


class Recipe(Section):
    """One experiment, whole."""

    backbone: str = "nano"
    """a name (`nano`, `gpt2`, `scratch:small`, ...), a folder in the Hugging Face layout, or an
    OpenAI checkpoint folder"""
    tune: Annotated[str, Field(pattern=r"^(auto|head|full|(blocks|lora):[1-9][0-9]*)$")] = "auto"
    """what is trained: `head`, last K blocks (`blocks:K`), rank-R adapters (`lora:R`), `full`;
    `auto`: by backbone, rows and speed"""
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 42
    """of Python, NumPy and torch"""
    data: DataSettings = Field(default_factory=lambda: DataSettings())
    text: TextSettings = Field(default_factory=lambda: TextSettings())
    train: TrainSettings = Field(default_factory=lambda: TrainSettings())
    decision: DecisionSettings = Field(default_factory=lambda: DecisionSettings())
    compute: ComputeSettings = Field(default_factory=lambda: ComputeSettings())

    @property
    def blocks(self) -> int | None:
        """K of `tune = "blocks:K"`."""
        return int(self.tune.removeprefix("blocks:")) if self.tune.startswith("blocks:") else None

    @property
    def rank(self) -> int | None:
        """R of `tune = "lora:R"`."""
        return int(self.tune.removeprefix("lora:")) if self.tune.startswith("lora:") else None

    def changed(self, settings: Mapping[str, Any]) -> Recipe:
        """A recipe with the given settings, named `section.key` or, where that is clear, `key`.

        Raises:
            ConfigError: a name is unknown (the nearest known one is named), or a value is out of
                range.
        """
        tree = self.model_dump()
        for name, value in settings.items():
            section, key = _place(name)
            (tree[section] if section else tree)[key] = value
        return _validated(tree, "settings")

    def to_toml(self) -> str:
        """The recipe as TOML with each setting's text; settings that are None stand as comments."""
        lines = ["# Recipe of this run: every setting, resolved.", ""]
        for section, name, field in fields():
            if section and f"[{section}]" not in lines:
                lines += ["", f"[{section}]"]
            value = getattr(getattr(self, section) if section else self, name)
            lines.append(f"# {field.description}")
            lines.append(f"# {name} = (none)" if value is None else f"{name} = {toml_value(value)}")
        return "\n".join(lines) + "\n"


def read_recipe(path: Path | str) -> Recipe:
    """A recipe from a TOML file.

    Raises:
        ConfigError: the file is missing, is not TOML, or holds an unknown or wrong setting.
    """
    path = Path(path)
    try:
        tree = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError(
            f"recipe {path} does not exist; known recipes: {', '.join(recipe_names())}"
        ) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError) as error:
        raise ConfigError(f"recipe {path} is not readable as TOML: {error}") from error
    return _validated(tree, str(path))


def named_recipe(name: str) -> Recipe:
    """A recipe by the name it ships under, or from a file.

    Raises:
        ConfigError: there is neither.
    """
    shipped = Path(__file__).parent / "recipes" / f"{name}.toml"
    return read_recipe(shipped if shipped.is_file() else name)


def recipe_names() -> list[str]:
    """Names of the recipes in the package, those of pretrainings (which have a corpus) aside."""
    recipes = (Path(__file__).parent / "recipes").glob("*.toml")
    return sorted(
        path.stem for path in recipes if "[corpus" not in path.read_text(encoding="utf-8")
    )


@cache
def fields() -> tuple[tuple[str | None, str, Any], ...]:
    """Every setting: section (None at the top), name and pydantic's field with description and
    default.
    """
    return tuple(_fields())


def _fields() -> Iterator[tuple[str | None, str, Any]]:
    for name, field in Recipe.model_fields.items():
        if not _is_section(field):
            yield None, name, field
    for name, field in Recipe.model_fields.items():
        if _is_section(field):
            for key, inner in field.annotation.model_fields.items():  # type: ignore[union-attr]
                yield name, key, inner


def _is_section(field: Any) -> bool:
    return isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel)


def _place(name: str) -> tuple[str | None, str]:
    """Section and key of a setting's name."""
    known = [(section, key) for section, key, _ in fields()]
    full = {f"{section}.{key}" if section else key: (section, key) for section, key in known}
    if name in full:
        return full[name]
    same = [place for place in known if place[1] == name]
    if len(same) == 1:
        return same[0]
    near = difflib.get_close_matches(name, [*full, *(key for _, key in known)], n=1)
    hint = f"; did you mean {near[0]!r}?" if near else f"; known settings: {', '.join(full)}"
    raise ConfigError(f"unknown setting {name!r}{hint}")


def _validated(tree: Mapping[str, Any], where: str) -> Recipe:
    try:
        return Recipe.model_validate(tree)
    except ValidationError as error:
        problems = []
        for problem in error.errors():
            name = ".".join(
                str(part)
                for part in problem["loc"]
                if isinstance(part, str) and not part.startswith(("literal", "dict"))
            )
            if problem["type"] == "extra_forbidden":
                problems.append(_misplaced(name, problem.get("input")))
                continue
            problems.append(f"{name}: {problem['msg'].lower()}, got {problem.get('input')!r}")
        raise ConfigError(f"{where}: " + "; ".join(dict.fromkeys(problems))) from None


def _misplaced(name: str, value: Any) -> str:
    """What to say about a name that stands in a file where no such setting is."""
    if isinstance(value, dict):
        sections = [section for section, field in Recipe.model_fields.items() if _is_section(field)]
        return f"unknown section [{name}]; known sections: {', '.join(sections)}"
    try:
        section, key = _place(name)
    except ConfigError as unknown:
        return str(unknown)
    return f"{name} stands in the wrong place; write {key} under [{section}]"
