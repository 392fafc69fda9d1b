"""House rules that no single module can hold: who imports whom, what importing costs, pins, sizes,
forbidden words.
"""

from __future__ import annotations

import ast
import importlib
import re
import socket
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import NormalizedName, canonicalize_name

import tamis
from tests import rows

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "src" / "tamis"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
MOST_LINES = 400
MOST_PRIVATE_USES = 9
PUBLIC = {"os._exit"}
"""Documented in spite of the underscore."""
MOST_PARAMETERS = 7
MORE_PARAMETERS = {
    "tamis.classifier.base.Parameters.__init__",  # scikit-learn reads the parameters off it
}
"""Functions that may have more parameters."""
ESTIMATOR, ESTIMATOR_LINES, ESTIMATOR_FILE_LINES = "tamis.classifier.text_classifier", 150, 200
MOST_IMPORTS = 12
"""Modules of this package that a module of the room `classifier` may import."""

# The rooms in the order of a message's way, read from below: a room imports from those below it,
# never from those above.
ROOMS = (
    "cli",
    "workflows",
    "serving",
    "feedback",
    "export",
    "classifier",
    "training",
    "head",
    "evaluation",
    "gpt2",
    "decision",
    "text",
    "data",
    "compute",
)
LOOSE = {"cache", "config", "download", "errors", "files", "progress"}
"""Modules that belong to no room; below all of them. `config` is a folder."""
STRANGERS = {("evaluation", "gpt2"), ("gpt2", "data")}
"""The first could import the second by its place and does not: figures know no network, a network
knows no table."""
ENTRIES = {"tamis", "tamis.__main__"}
ASSEMBLES = {"tamis.serving.app"}
"""Puts a room together from the rooms inside of it, which know the rest of the room but not this
module."""
PRINTS = {"tamis.workflows.predict"}
"""Verdicts on a stream leave one by one, each as soon as it is there."""


def modules() -> dict[str, Path]:
    """Dotted name → file, of everything under src."""
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


MODULES = modules()


@cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), filename=str(path))


def where(path: Path, node: ast.AST | None = None) -> str:
    return str(path.relative_to(ROOT)) + (
        f":{node.lineno}" if node is not None and hasattr(node, "lineno") else ""
    )


def imports(name: str) -> Iterator[tuple[ast.AST, str]]:
    """Every module that a module names in an import, wherever in it and whenever it is run."""
    path = MODULES[name]
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            yield from ((node, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                package = name.split(".") if path.name == "__init__.py" else name.split(".")[:-1]
                base = ".".join(
                    package[: len(package) - node.level + 1]
                    + ([node.module] if node.module else [])
                )
            for alias in node.names:
                yield node, f"{base}.{alias.name}" if f"{base}.{alias.name}" in MODULES else base


def folder(module: str) -> str:
    """`tamis.classifier.explain.occlusion` → classifier.explain; empty for what lies loose in the
    package.
    """
    return ".".join(MODULES[module].parent.relative_to(PACKAGE).parts)


def room(module: str) -> str:
    """`tamis.classifier.explain.occlusion` → classifier; empty for what lies loose in the
    package.
    """
    first = folder(module).split(".")[0]
    return first if first not in LOOSE else ""


LIBRARY = {
    name: path
    for name, path in MODULES.items()
    if name not in ENTRIES | PRINTS and room(name) != "cli"
}


def packages(below: Path) -> set[str]:
    """Names of the folders that hold files; what a branch of yesterday left behind holds only
    compiled ones.
    """
    return {
        file.relative_to(below).parts[0]
        for file in below.glob("*/**/*")
        if file.is_file() and "__pycache__" not in file.parts
    }


def test_every_room_is_a_package_and_every_package_is_a_room() -> None:
    assert packages(PACKAGE) == {*ROOMS, "config", "recipes"}
    assert len(ROOMS) <= 14
    homeless = [
        where(path.parent)
        for path in MODULES.values()
        if not (path.parent / "__init__.py").is_file()
    ]
    assert not homeless, f"no packages: {', '.join(homeless)}"


def test_few_modules_lie_loose() -> None:
    files = {path.stem for path in PACKAGE.glob("*.py")}
    assert files | {"config"} == LOOSE | {"__init__", "__main__"}
    assert len(LOOSE) <= 6


def test_the_exceptions_exist() -> None:
    assert ENTRIES | ASSEMBLES | PRINTS <= MODULES.keys()
    assert {name for pair in STRANGERS for name in pair} <= set(ROOMS)


def height(name: str) -> int:
    """Of a room above the ground, on which the loose modules lie."""
    return len(ROOMS) - ROOMS.index(name) if name else 0


@pytest.mark.parametrize("name", [name for name in MODULES if name not in ENTRIES])
def test_every_module_imports_downwards(name: str) -> None:
    here = room(name)
    wrong = []
    for node, target in imports(name):
        if target.split(".")[0] != "tamis":
            continue
        if target == "tamis":
            # The version is a fact of the package; everything else has a home of its own.
            names = (
                {alias.name for alias in node.names}
                if isinstance(node, ast.ImportFrom)
                else {"tamis"}
            )
            if names != {"__version__"}:
                wrong.append(
                    f"{where(MODULES[name], node)}: takes {', '.join(sorted(names))} from tamis "
                    "itself"
                )
        elif target not in MODULES or target in ENTRIES:
            wrong.append(
                f"{where(MODULES[name], node)}: imports {target}, which is no module to import from"
            )
        elif height(there := room(target)) > height(here):
            wrong.append(
                f"{where(MODULES[name], node)}: {here or 'a loose module'} imports {target}, "
                "which stands above it"
            )
        elif (here, there) in STRANGERS:
            wrong.append(
                f"{where(MODULES[name], node)}: {here} imports {target}; these two do not know "
                "each other"
            )
    assert not wrong, "\n".join(wrong)


def circle(graph: dict[str, set[str]]) -> set[str]:
    """What is left of a graph once all is taken away that leads nowhere or that nothing leads
    to.
    """
    while True:
        reached = {target for name, targets in graph.items() for target in targets - {name}}
        kept = {
            name
            for name, targets in graph.items()
            if name in reached and targets & graph.keys() - {name}
        }
        if len(kept) == len(graph):
            return kept
        graph = {name: graph[name] for name in kept}


def test_no_rooms_import_each_other_in_a_circle() -> None:
    graph: dict[str, set[str]] = {}
    for name in MODULES.keys() - ENTRIES - ASSEMBLES:
        graph.setdefault(folder(name), set()).update(
            folder(target) for _, target in imports(name) if target in MODULES.keys() - ENTRIES
        )
    assert not (left := circle(graph)), f"these rooms import each other: {', '.join(sorted(left))}"


def test_no_modules_import_each_other_in_a_circle() -> None:
    graph = {name: {target for _, target in imports(name) if target in MODULES} for name in MODULES}
    assert not (left := circle(graph)), f"these import each other: {', '.join(sorted(left))}"


@pytest.mark.parametrize("name", MODULES)
def test_every_module_can_be_imported(name: str) -> None:
    if name != "tamis.__main__":
        assert importlib.import_module(name).__name__ == name


@pytest.mark.parametrize("name", ["tamis", "tamis.config", "tamis.compute.device", "tamis.cli"])
def test_what_a_user_waits_for_imports_nothing_heavy(name: str) -> None:
    heavy = {
        "torch",
        "sklearn",
        "scipy",
        "matplotlib",
        "transformers",
        "tokenizers",
        "pandas",
        "polars",
        "nltk",
    }
    code = f"import sys, {name}; print(*sorted({{module.split('.')[0] for module in sys.modules}}))"
    command = [sys.executable, "-c", code]
    surroundings = {"PYTHONPATH": str(PACKAGE.parent)}
    loaded = subprocess.run(
        command, env=surroundings, capture_output=True, text=True, check=True
    ).stdout.split()
    assert "tamis" in loaded
    assert not heavy & set(loaded), (
        f"import {name} also imports {', '.join(sorted(heavy & set(loaded)))}"
    )


def private_uses(test: ast.Module) -> Iterator[tuple[ast.AST, str]]:
    """Names with a leading underscore that a test imports from the package, takes from an object
    other than `self`, or names in `setattr` and the like.
    """
    private = re.compile(r"(tamis\.(\w+\.)*)?_[A-Za-z]\w*")
    setters = {"setattr", "getattr", "delattr", "hasattr", "setitem", "delitem", "patch", "pop"}
    for node in ast.walk(test):
        named: list[str] = []
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "tamis":
            named = [*(node.module or "").split("."), *(alias.name for alias in node.names)]
        elif isinstance(node, ast.Attribute) and not (
            isinstance(node.value, ast.Name)
            and (node.value.id in ("self", "cls") or f"{node.value.id}.{node.attr}" in PUBLIC)
        ):
            named = [node.attr]
        elif (
            isinstance(node, ast.Call)
            and getattr(node.func, "attr", getattr(node.func, "id", "")) in setters
        ):
            named = [
                argument.value
                for argument in node.args
                if isinstance(argument, ast.Constant) and isinstance(argument.value, str)
            ]
        yield from ((node, name) for name in named if private.fullmatch(name))


def test_a_private_use_is_seen() -> None:
    lines = (
        "from tamis.config import _fields, fields",
        "from tamis._hidden import shown",
        "patch.setattr(module, '_name', 1)",
        "patch.setattr('tamis.config._fields', 1)",
        "found._attribute.more()",
        "self._own, found.__dict__, call('_text'), os._exit(0)",
    )
    found = [name for _, name in private_uses(ast.parse("\n".join(lines)))]
    assert sorted(found) == ["_attribute", "_fields", "_hidden", "_name", "tamis.config._fields"]


def test_tests_go_through_public_names() -> None:
    found = [
        f"{where(path, node)}: {name}"
        for path in sorted((ROOT / "tests").rglob("*.py"))
        for node, name in private_uses(tree(path))
    ]
    assert len(found) <= MOST_PRIVATE_USES, "\n".join(found)


def test_the_public_names_are_what_can_be_imported() -> None:
    assert len(set(tamis.__all__)) == len(tamis.__all__)
    for name in tamis.__all__:
        assert getattr(tamis, name) is not None
        assert name in dir(tamis)
    star: dict[str, Any] = {}
    exec("from tamis import *", star)
    assert star.keys() - {"__builtins__"} == set(tamis.__all__)
    with pytest.raises(
        AttributeError, match="module 'tamis' has no attribute 'nothing_of_the_kind'"
    ):
        tamis.nothing_of_the_kind  # noqa: B018


def test_the_lazy_names_are_the_ones_that_type_checkers_see() -> None:
    checked = next(node for node in tree(MODULES["tamis"]).body if isinstance(node, ast.If))
    seen = {
        alias.name: node.module
        for node in checked.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert seen == tamis._HOMES
    eager = {
        alias.name
        for node in tree(MODULES["tamis"]).body
        if isinstance(node, ast.ImportFrom) and node.module == "tamis.errors"
        for alias in node.names
    }
    assert set(tamis.__all__) == eager | tamis._HOMES.keys() | {"__version__"}


@pytest.mark.parametrize("name", MODULES)
def test_a_file_holds_one_idea(name: str) -> None:
    path = MODULES[name]
    lines = path.read_text(encoding="utf-8").count("\n")
    assert lines <= MOST_LINES, (
        f"{where(path)} has {lines} lines; split it by what a reader wants to know"
    )
    doc = ast.get_docstring(tree(path))
    assert doc, f"{where(path)} has no docstring that says what it owns"
    assert path.stem not in {"utils", "helpers", "common", "misc"}, f"{where(path)}: name the idea"


def functions(name: str) -> Iterator[tuple[ast.FunctionDef | ast.AsyncFunctionDef, str]]:
    """Every function of a module, with its dotted name; those inside of functions too."""

    def inside(node: ast.AST, before: str) -> Iterator[Any]:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                if not isinstance(child, ast.ClassDef):
                    yield child, f"{before}.{child.name}"
                yield from inside(child, f"{before}.{child.name}")
            else:
                yield from inside(child, before)

    yield from inside(tree(MODULES[name]), name)


def parameters(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """How many parameters it has, `self` and `cls` aside; `*rest` and `**rest` count as one."""
    given = function.args
    names = [argument.arg for argument in (*given.posonlyargs, *given.args, *given.kwonlyargs)]
    return len([name for name in names if name not in ("self", "cls")]) + sum(
        rest is not None for rest in (given.vararg, given.kwarg)
    )


@pytest.mark.parametrize("name", [name for name in MODULES if room(name) != "cli"])
def test_no_function_has_many_parameters(name: str) -> None:
    wrong = [
        f"{where(MODULES[name], node)}: {full.removeprefix(name + '.')} has {parameters(node)}"
        for node, full in functions(name)
        if parameters(node) > MOST_PARAMETERS and full not in MORE_PARAMETERS
    ]
    assert not wrong, "group them into a dataclass:\n" + "\n".join(wrong)


def test_the_functions_that_may_have_more_parameters_exist() -> None:
    known = {full for name in MODULES for _, full in functions(name)}
    assert known >= MORE_PARAMETERS


def test_the_estimator_stays_small() -> None:
    path = MODULES[ESTIMATOR]
    (estimator,) = (node for node in tree(path).body if isinstance(node, ast.ClassDef))
    assert estimator.end_lineno is not None
    assert estimator.end_lineno - estimator.lineno + 1 < ESTIMATOR_LINES
    assert path.read_text(encoding="utf-8").count("\n") < ESTIMATOR_FILE_LINES


@pytest.mark.parametrize("name", [name for name in MODULES if room(name) == "classifier"])
def test_a_module_of_the_classifier_imports_few_others(name: str) -> None:
    targets = {target for _, target in imports(name) if target.startswith("tamis.")}
    assert len(targets) <= MOST_IMPORTS, (
        f"{name} imports {len(targets)}: {', '.join(sorted(targets))}"
    )


@pytest.mark.parametrize("name", [name for name in MODULES if room(name) != "cli"])
def test_only_the_command_line_prints_and_only_its_entry_exits(name: str) -> None:
    path, wrong = MODULES[name], []
    forbidden = {
        "exit",
        "quit",
        "breakpoint",
        "sys.exit",
        "os._exit",
        "warnings.warn",
        "torch.load",
    }
    if name in LIBRARY:
        forbidden |= {"print", "sys.stdout.write", "sys.stderr.write"}
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Call) and (called := ast.unparse(node.func)) in forbidden:
            wrong.append(f"{where(path, node)}: {called}(...)")
        if (
            isinstance(node, ast.Raise)
            and node.exc is not None
            and ast.unparse(node.exc).startswith(("SystemExit", "typer.Exit"))
        ):
            wrong.append(f"{where(path, node)}: raise {ast.unparse(node.exc)}")
    assert not wrong, "\n".join(wrong)


def counts_cores(node: ast.AST) -> bool:
    """Whether an import takes nothing but `joblib.cpu_count`."""
    return (
        isinstance(node, ast.ImportFrom)
        and node.module == "joblib"
        and [alias.name for alias in node.names] == ["cpu_count"]
    )


@pytest.mark.parametrize("name", MODULES)
def test_no_pickle_and_no_global_plotting_state(name: str) -> None:
    barred = {"pickle", "dill", "joblib", "shelve", "marshal", "matplotlib.pyplot"}
    wrong = [
        f"{where(MODULES[name], node)}: {target}"
        for node, target in imports(name)
        if target in barred and not counts_cores(node)
    ]
    wrong += [
        where(MODULES[name], node)
        for node in ast.walk(tree(MODULES[name]))
        if isinstance(node, ast.ImportFrom)
        and node.module == "matplotlib"
        and "pyplot" in {a.name for a in node.names}
    ]
    assert not wrong, "\n".join(wrong)


def project_files() -> list[Path]:
    """What a commit could hold: tracked files and new ones that git does not ignore."""
    listed = subprocess.run(
        ["git", "-C", str(ROOT), "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        capture_output=True,
    )
    if listed.returncode:
        pytest.skip("not a git checkout")
    return [
        path
        for name in listed.stdout.decode().split("\0")
        if name and (path := ROOT / name).is_file()
    ]


def test_no_file_names_a_machine_or_a_package_registry() -> None:
    # Written in two halves so that this file does not name them either.
    halves = [("/wo", "rk/"), ("/ro", "ot/"), ("/opt/", "tv"), ("/opt/", "wheels"), ("/tmp/", "w/")]
    halves += [
        ("pypi", ".org"),
        ("python", "hosted.org"),
        ("npmjs", ".org"),
        ("deb.", "debian.org"),
        ("proxy.golang", ".org"),
    ]
    words = ["".join(pair) for pair in halves]
    wrong = []
    for path in project_files():
        try:
            lines = path.read_text(encoding="utf-8").splitlines()
        except UnicodeDecodeError:
            continue  # weights and pictures
        for number, line in enumerate(lines, 1):
            wrong += [f"{where(path)}:{number}: {word}" for word in words if word in line.lower()]
    assert not wrong, "\n".join(wrong)


def test_nothing_is_left_to_be_done() -> None:
    mark = re.compile(r"#\s*(TO" + r"DO|FIX" + r"ME|XX" + r"X|HACK)\b")
    sources = [path for path in project_files() if path.suffix == ".py"]
    wrong = [
        f"{where(path)}:{number}"
        for path in sources
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if mark.search(line)
    ]
    assert sources and not wrong, "\n".join(wrong)


def pins() -> dict[NormalizedName, str]:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    entries = [Requirement(line) for line in lines if line.strip() and not line.startswith("#")]
    found: dict[NormalizedName, str] = {}
    for entry in entries:
        (exact,) = entry.specifier
        assert exact.operator == "==" and "+" not in exact.version and not entry.url, (
            f"{entry} is no plain pin"
        )
        assert not entry.extras and entry.marker is None, (
            f"{entry}: a constraint has neither extras nor markers"
        )
        assert canonicalize_name(entry.name) not in found, f"{entry.name} is pinned twice"
        found[canonicalize_name(entry.name)] = exact.version
    return found


def declared() -> list[Requirement]:
    groups = [PROJECT["dependencies"], *PROJECT["optional-dependencies"].values()]
    found = [Requirement(line) for group in groups for line in group]
    return [requirement for requirement in found if requirement.name != PROJECT["name"]]


def test_the_extra_all_has_every_extra_that_adds_a_feature() -> None:
    extras = PROJECT["optional-dependencies"]
    (everything,) = map(Requirement, extras["all"])
    assert everything.name == PROJECT["name"]
    assert everything.extras == extras.keys() - {"all", "bench", "dev", "docs"}


def test_every_dependency_and_extra_is_pinned_within_its_bounds() -> None:
    pinned = pins()
    assert pinned[canonicalize_name("torch")] == "2.13.0"
    for requirement in declared():
        name = canonicalize_name(requirement.name)
        assert name in pinned, f"{requirement} is not in constraints.txt"
        assert requirement.specifier.contains(pinned[name]), (
            f"{name} {pinned[name]} is outside {requirement.specifier}"
        )


def test_what_the_dependencies_need_is_pinned_too() -> None:
    pinned, seen = pins(), set()
    pending = declared()
    while pending:
        requirement = pending.pop()
        name = canonicalize_name(requirement.name)
        try:
            needs = metadata.requires(name) or []
        except metadata.PackageNotFoundError:
            continue  # an extra that is not installed here
        # The GPU builds of torch ask for their CUDA libraries at exact versions themselves.
        if (name, frozenset(requirement.extras)) in seen or name.startswith(
            ("nvidia-", "cuda-", "triton")
        ):
            continue
        seen.add((name, frozenset(requirement.extras)))
        assert name in pinned, f"{name} comes with the dependencies and is not in constraints.txt"
        for need in map(Requirement, needs):
            if need.marker is None or any(
                need.marker.evaluate({"extra": extra}) for extra in requirement.extras | {""}
            ):
                pending.append(need)
    assert len(seen) > 20


def test_requirements_txt_is_one_install_line_under_the_pins() -> None:
    lines = (ROOT / "requirements.txt").read_text(encoding="utf-8").split("\n")
    assert lines[0] == "-c constraints.txt" and lines[2:] == [""]
    requirement = re.fullmatch(r"\.\[([a-z,]+)\]", lines[1])
    assert requirement and set(requirement[1].split(",")) <= PROJECT[
        "optional-dependencies"
    ].keys() - {"dev"}


def test_an_error_about_a_missing_extra_names_one_that_exists() -> None:
    extras, seen = PROJECT["optional-dependencies"].keys(), set()
    for path in LIBRARY.values():
        for node in ast.walk(tree(path)):
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "MissingExtraError":
                named = {argument.arg: argument.value for argument in node.keywords}
                extra = named["extra"] if "extra" in named else node.args[1]
                if isinstance(extra, ast.Constant):
                    seen.add(extra.value)
                    assert extra.value in extras, (
                        f"{where(path, node)}: there is no extra {extra.value!r}"
                    )
    assert {"hub", "tables", "search"} <= seen


def test_the_changelog_knows_this_version() -> None:
    headings = re.findall(
        r"^## \[(.+?)\]", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), flags=re.MULTILINE
    )
    assert headings and headings[0] in ("Unreleased", tamis.__version__)


def test_the_tree_in_the_documentation_is_the_one_on_the_disk() -> None:
    page = ROOT / "docs" / "explanation" / "architecture.md"
    section = page.read_text(encoding="utf-8").split("\n## ")[0]
    section = section[section.index("    src/tamis/") :]
    first, *lines = [line for line in section.splitlines() if line.startswith("    ")]
    assert first.split() == ["src/tamis/"]
    inside = [line for line in lines if line.startswith("      ")]
    shown: dict[str, set[str]] = {}
    loose: set[str] = set()
    for line in inside:
        name, *rest = line.split()
        if name.endswith("/"):
            assert name[:-1] not in shown, f"the page names {name} twice"
            shown[name[:-1]] = set(re.findall(r"\b(\w+)/", " ".join(rest)))
        else:
            loose.update(re.findall(r"\b(\w+)\.py\b", line))
    assert [name for name in shown if name not in ("config", "recipes")] == list(ROOMS)
    assert shown == {name: packages(PACKAGE / name) for name in packages(PACKAGE)}
    assert loose == {path.stem for path in PACKAGE.glob("*.py")} - {"__init__", "__main__"}


def test_what_the_build_needs_is_there() -> None:
    for name in ("README.md", "LICENSE", "Makefile", "mkdocs.yml", "src/tamis/py.typed", ".ci/run"):
        assert (ROOT / name).is_file(), f"{name} is missing"
    assert (ROOT / ".ci/run").stat().st_mode & 0o111, ".ci/run cannot be executed"
    module, _, function = PROJECT["scripts"]["tamis"].partition(":")
    assert module in MODULES, f"the command's module {module} is missing"
    assert callable(getattr(importlib.import_module(module), function))


@pytest.mark.parametrize(
    "address", [("192.0.2.7", 80), ("example.com", 443)], ids=["by number", "by name"]
)
def test_a_test_that_reaches_for_the_network_fails(address: tuple[str, int]) -> None:
    with pytest.raises(RuntimeError, match=r"a test (reached for|asked for the address of)"):
        socket.create_connection(address, timeout=1)
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        socket.create_connection(server.getsockname(), timeout=5),
    ):
        pass  # loopback works


def test_the_rows_for_tests_are_small_mixed_and_the_same_each_time(
    sms_rows: list[tuple[str, str]], sms_file: Path
) -> None:
    labels = [label for label, _ in sms_rows]
    assert (
        (labels.count("ham"), labels.count("spam")) == (rows.HAM_ROWS, rows.SPAM_ROWS) == (96, 28)
    )
    assert len(set(sms_rows)) == len(sms_rows) - 5
    assert {"ham", "spam"} == set(labels[:12]) == set(labels[-12:])
    assert rows.messages() == sms_rows
    assert [
        tuple(line.split("\t")) for line in sms_file.read_text(encoding="utf-8").splitlines()
    ] == sms_rows
