"""The project as a whole: packaging, citation, layers, public names, and that the README's code runs."""

import ast
import importlib
import inspect
import re
import shutil
import subprocess
import sys
import tomllib
from importlib import metadata
from pathlib import Path

import pytest
import yaml
from cffconvert import Citation
from packaging.requirements import Requirement

import ibo_jax

ROOT = Path(__file__).resolve().parent.parent
SOURCE = ROOT / "src" / "ibo_jax"
README = (ROOT / "README.md").read_text()
MODULES = sorted(path.relative_to(SOURCE) for path in SOURCE.rglob("*.py"))
BLOCKS = re.findall(r"^```python\n(.*?)^```$", README, flags=re.DOTALL | re.MULTILINE)

SHARED = {"types", "numerics", "space", "observations", "outcomes", "folders"}
TRAIN = SHARED | {"importance", "training", "problems"}
SEARCH = SHARED | {"surrogate", "acquisition", "methods"}
MAY_IMPORT = (
    dict.fromkeys(SHARED, SHARED) | dict.fromkeys(TRAIN - SHARED, TRAIN) | dict.fromkeys(SEARCH - SHARED, SEARCH)
)
MAY_IMPORT |= {"importance": SHARED | {"importance"}, "training": TRAIN - {"problems"}}
MAY_IMPORT |= {"bilevel": TRAIN | SEARCH | {"bilevel"}, "study": TRAIN | SEARCH | {"bilevel", "study"}}
MAY_IMPORT |= {"cli": MAY_IMPORT["study"] | {"cli"}}


def imported(path):
    """Parts of the package that a module names in its imports, inside functions too."""
    for node in ast.walk(ast.parse((SOURCE / path).read_text())):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "ibo_jax":
            parts = node.module.split(".")[1:2]
            yield from parts or [alias.name for alias in node.names]
        elif isinstance(node, ast.Import):
            yield from (alias.name.split(".")[1] for alias in node.names if alias.name.startswith("ibo_jax."))


@pytest.mark.parametrize("path", [path for path in MODULES if str(path) != "__init__.py"], ids=str)
def test_a_module_imports_only_its_own_row_or_one_above(path):
    part = path.parts[0].removesuffix(".py")
    assert set(imported(path)) <= MAY_IMPORT[part]


def test_citation_is_valid_and_names_the_paper():
    text = (ROOT / "CITATION.cff").read_text()
    Citation(text).validate()
    fields = yaml.safe_load(text)
    assert fields["preferred-citation"]["title"].startswith("Faster & More Reliable Tuning")
    assert str(fields["version"]) == metadata.version("ibo_jax")


def test_every_dependency_is_pinned_at_a_version_that_it_allows():
    lines = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if not line.startswith("#")]
    pins = {canonical(name): version for name, version in (line.split("==") for line in lines)}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = [
        *project["dependencies"],
        *(each for extra in project["optional-dependencies"].values() for each in extra),
    ]
    for requirement in map(Requirement, wanted):
        assert pins[canonical(requirement.name)] in requirement.specifier, requirement


def canonical(name):
    return re.sub(r"[-_.]+", "-", name).lower()


def public_names():
    for path in MODULES:
        if not (SOURCE / path).read_text():
            continue  # only makes a folder a package
        name = ".".join(("ibo_jax", *path.with_suffix("").parts)).removesuffix(".__init__")
        module = importlib.import_module(name)
        yield name, module
        for public in getattr(module, "__all__", []):
            yield f"{name}.{public}", getattr(module, public)


def test_every_module_and_public_function_and_class_is_documented():
    own = [(name, thing) for name, thing in public_names() if getattr(thing, "__module__", name).startswith("ibo_jax")]
    assert [name for name, thing in own if callable(thing) or inspect.ismodule(thing) if not documented(thing)] == []


def documented(thing):
    """A NamedTuple without a docstring gets its signature as one, which does not count."""
    text = thing.__doc__ or ""
    return bool(text) and not text.startswith(f"{getattr(thing, '__name__', '')}(")


def test_the_reference_has_all_public_names_and_no_others():
    pages = "".join(path.read_text() for path in (ROOT / "docs" / "reference").glob("*.md"))
    named = set(re.findall(r"^::: (\S+)$", pages, flags=re.MULTILINE))
    public = dict(public_names())
    parts = {"importance", "surrogate", "acquisition", "methods", "training", "bilevel"}
    modules = {name for name, thing in public.items() if inspect.ismodule(thing) and name.count(".") == 2}
    assert named <= public.keys()
    assert {name for name in modules if name.split(".")[1] in parts} <= named
    functions = {f"ibo_jax.{name}" for name in ibo_jax.__all__ if callable(getattr(ibo_jax, name))}
    assert functions - {"ibo_jax.Observations"} <= named  # that is on the page of its module


def test_no_file_names_a_machine():
    for path in [*ROOT.glob("*.*"), ROOT / "Makefile", *ROOT.glob("docs/**/*.md"), *SOURCE.rglob("*.py")]:
        if path.is_file():
            assert not re.search(r"(?<![\w.])/(work|root|tmp|opt)/", path.read_text(errors="ignore")), path


@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: block.strip().splitlines()[-1][:40])
def test_readme_code_runs(block, tmp_path, monkeypatch):
    """As printed, but for the budget."""
    monkeypatch.chdir(tmp_path)
    budgeted = re.sub(r"(evaluations|n_trials)=\d+", r"\1=6", block)
    exec(compile(budgeted, "README.md", "exec"), {"__name__": "readme"})


def test_readme_commands_exist():
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE))
    named = set(re.findall(r"(?:`|^|: )make ([a-z-]+)", README, flags=re.MULTILINE))
    assert {"tune", "test"} <= named <= targets


def test_make_never_installs_twice_at_once(tmp_path):
    for name in ("Makefile", "pyproject.toml", "constraints.txt"):
        shutil.copy(ROOT / name, tmp_path)
    (tmp_path / ".venv").mkdir()
    pip = "mkdir .venv/pip && sleep 0.3 && rmdir .venv/pip #"
    made = (".venv/.installed-test", ".venv/.installed-docs")
    command = ["make", "--jobs=2", "PYTHON=true", f"PIP={pip}", *made]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_readme_options_are_those_of_the_command():
    code = "from ibo_jax.cli import main; main(['tune', '--help'])"
    text = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    offered = set(re.findall(r"--[a-z]+", text)) - {"--help"}
    assert offered == set(re.findall(r"(?<=[` ])--[a-z]+(?=[` ])", README.partition("## The paper")[0]))
