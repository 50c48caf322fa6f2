"""What the package promises as a whole: a quick import, floors that lean downwards only, docstrings, safe loading."""

from __future__ import annotations

import ast
import graphlib
import re
import subprocess
import sys
import tomllib
from collections import Counter
from collections.abc import Iterator, Mapping, Set
from pathlib import Path

import pytest
import soundfile

import audiovq

PACKAGE = Path(audiovq.__file__).parent
MODULES = sorted(PACKAGE.rglob("*.py"))

# The lowest first; a part imports from itself and from floors below its own. Named as in the design. The package's own
# __init__ stands above all, as it only hands names out.
FLOORS = [
    {"errors", "config", "simd"},
    {"layers", "data"},
    {"quantize", "metrics", "bitstream"},
    {"modelfolder"},
    {"audio", "image", "prior"},
    {"codec"},
    {"train", "evaluate"},
    {"cli"},
    {"__main__"},
    {"__init__"},
]
# Wings: folders of one part that never import each other, but for those that stand on another one.
WINGS = [
    {"data.kaldi", "data.corpus", "data.image"},
    {"train.speech", "train.image", "train.prior"},
    {"cli.image", "cli.prior"},
]
STANDS_ON = {"data.corpus": {"data.kaldi"}}
MOST_IN_A_ROOM = 16


def part_of(path: Path) -> str:
    """The part of the house that a file belongs to: its first folder under audiovq/, or its own name."""
    return path.relative_to(PACKAGE).with_suffix("").parts[0]


def floor_of(part: str) -> int:
    for height, parts in enumerate(FLOORS):
        if part in parts:
            return height
    raise AssertionError(f"audiovq.{part} has no floor yet: give it one in FLOORS")


def imported_parts(tree: ast.AST, file: Path) -> Iterator[tuple[int, str]]:
    """Every part of audiovq that a module imports, with the line, inside functions and TYPE_CHECKING blocks too."""
    package = ["audiovq", *file.relative_to(PACKAGE).parts[:-1]]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            source = ".".join([*base, *([node.module] if node.module else [])])
            names = [f"{source}.{alias.name}" for alias in node.names] if source == "audiovq" else [source]
        else:
            continue
        for name in names:
            words = name.split(".")
            if words[0] == "audiovq" and words[1:] not in ([], ["__version__"]):
                yield node.lineno, audiovq._HOME.get(words[1], name).split(".")[1]


def floor_breaches(source: str, file: Path) -> list[str]:
    part = part_of(file)
    return [
        f"{file.relative_to(PACKAGE.parent)}:{line} imports audiovq.{other}"
        for line, other in imported_parts(ast.parse(source), file)
        if other != part and floor_of(other) >= floor_of(part)
    ]


def name_of(file: Path) -> str:
    """The dotted name of a module, without `.__init__`."""
    return ".".join(file.relative_to(PACKAGE.parent).with_suffix("").parts).removesuffix(".__init__")


def imported_modules(tree: ast.AST, modules: Set[str]) -> set[str]:
    """Every one of `modules` that a module imports, inside functions and TYPE_CHECKING blocks too."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            inner = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= inner & modules or {node.module}
    return found & modules


def wing_of(module: str) -> str | None:
    wing = ".".join(module.split(".")[1:3])
    return wing if any(wing in wings for wings in WINGS) else None


def wing_breaches(graph: Mapping[str, Set[str]]) -> list[str]:
    found = []
    for module, others in graph.items():
        wing = wing_of(module)
        for other in others:
            neighbour = wing_of(other)
            together = any({wing, neighbour} <= wings for wings in WINGS)
            if together and neighbour != wing and neighbour not in STANDS_ON.get(str(wing), ()):
                found.append(f"{module} imports {other}")
    return found


def unsafe_loads(source: str) -> list[str]:
    """Lines that unpickle or build objects a file names: pickle, np.load(allow_pickle), torch.load, unsafe YAML."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import | ast.ImportFrom):
            roots = [alias.name for alias in node.names] if isinstance(node, ast.Import) else [node.module or ""]
            bad = any(root.split(".")[0] in {"pickle", "dill", "cloudpickle", "joblib"} for root in roots)
        elif isinstance(node, ast.Call):
            options = {word.arg: ast.unparse(word.value) for word in node.keywords}
            match ast.unparse(node.func):
                case "torch.load":
                    bad = options.get("weights_only") != "True"
                case "yaml.load" | "yaml.load_all":
                    loader = options.get("Loader") or (ast.unparse(node.args[1]) if len(node.args) > 1 else "")
                    bad = not loader.endswith("SafeLoader")
                case "yaml.unsafe_load" | "yaml.full_load" | "eval" | "exec":
                    bad = True
                case _:
                    bad = options.get("allow_pickle") == "True"
        else:
            continue
        if bad:
            found.append(f"{node.lineno}: {ast.unparse(node)}")
    return found


def test_import_does_not_bring_in_torch():
    heavy = "{'torch', 'lightning', 'librosa', 'numba', 'matplotlib'}"
    code = f"import sys, audiovq; print(sorted({heavy} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout == "[]\n"


def test_command_help_does_not_bring_in_torch():
    code = (
        "import sys; from audiovq.cli.main import cli; cli(['--help'], standalone_mode=False);"
        "assert not {'torch', 'lightning', 'librosa', 'numba', 'matplotlib'} & set(sys.modules), 'imports too much'"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "encode" in done.stdout


@pytest.mark.parametrize("name", audiovq.__all__)
def test_every_public_name_is_there(name):
    assert name in dir(audiovq)
    assert getattr(audiovq, name) is not None


def test_lazy_table_and_public_names_agree():
    assert sorted([*audiovq._HOME, "__version__"]) == sorted(audiovq.__all__)


def test_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="nonsense"):
        _ = audiovq.nonsense


@pytest.mark.parametrize("file", MODULES, ids=lambda file: str(file.relative_to(PACKAGE)))
def test_module_leans_on_lower_floors_only_is_safe_and_says_what_it_is(file):
    source = file.read_text(encoding="utf-8")
    assert floor_breaches(source, file) == []
    assert unsafe_loads(source) == []
    assert ast.get_docstring(ast.parse(source)), f"{file} has no module docstring"


@pytest.fixture(scope="module")
def graph() -> dict[str, set[str]]:
    """Module -> the modules it imports."""
    names = {name_of(file): file for file in MODULES if file != PACKAGE / "__init__.py"}
    return {name: imported_modules(ast.parse(file.read_text()), set(names)) - {name} for name, file in names.items()}


def test_no_module_imports_itself_by_way_of_others(graph):
    try:
        graphlib.TopologicalSorter(graph).prepare()
    except graphlib.CycleError as error:
        pytest.fail(" imports ".join(reversed(error.args[1])))


def test_wings_do_not_lean_on_each_other(graph):
    assert wing_breaches(graph) == []


def test_wing_check_finds_a_neighbour():
    wrong = {"audiovq.train.image.run": {"audiovq.train.speech.run"}, "audiovq.data.kaldi.x": {"audiovq.data.corpus.y"}}
    right = {
        "audiovq.data.corpus.pack": {"audiovq.data.kaldi.datadir"},
        "audiovq.train.image.run": {"audiovq.train.run"},
    }
    assert len(wing_breaches(wrong)) == 2
    assert wing_breaches(right) == []


def test_no_room_is_crowded():
    repository = PACKAGE.parent
    files = [*MODULES, *(repository / "recipes").rglob("*.py"), *(repository / "studies").rglob("*.py")]
    crowded = {room: n for room, n in Counter(file.parent for file in files).items() if n > MOST_IN_A_ROOM}
    assert crowded == {}


@pytest.mark.parametrize(
    ("source", "breaches"),
    [
        ("from audiovq.errors import AudioVQError", 0),
        ("from audiovq import __version__", 0),
        ("from audiovq.quantize.vq import VectorQuantizer", 0),
        ("from .search import nearest", 0),
        ("from audiovq.metrics import mel", 1),  # a neighbour on the same floor
        ("from ..codec import Codec", 1),
        ("from audiovq import Codec", 1),
        ("def late():\n    import audiovq.train.speech.spectral", 1),
    ],
)
def test_floor_check_finds_an_upward_import(source, breaches):
    assert len(floor_breaches(source, PACKAGE / "quantize" / "vq.py")) == breaches


@pytest.mark.parametrize(
    ("source", "unsafe"),
    [
        ("import pickle", True),
        ("from joblib import load", True),
        ("torch.load(path)", True),
        ("torch.load(path, weights_only=False)", True),
        ("torch.load(path, weights_only=True)", False),
        ("yaml.load(text, Loader=yaml.Loader)", True),
        ("yaml.load(text)", True),
        ("yaml.load(text, yaml.CSafeLoader)", False),
        ("yaml.safe_load(text)", False),
        ("np.load(path, allow_pickle=True)", True),
        ("np.load(path)", False),
        ("model.eval()", False),
    ],
)
def test_safety_check_finds_an_unsafe_load(source, unsafe):
    assert bool(unsafe_loads(source)) == unsafe


def test_readme_names_every_extra_and_no_other():
    repository = PACKAGE.parent
    project = tomllib.loads((repository / "pyproject.toml").read_text())["project"]
    (named,) = re.findall(r"\(extras: ([^)]*)\)", (repository / "README.md").read_text())
    assert sorted(re.findall(r"`(\w+)`", named)) == sorted(project["optional-dependencies"])


def test_packaged_sample_is_short_speech_at_the_models_rate(sample_path):
    info = soundfile.info(sample_path)
    assert (info.samplerate, info.channels) == (16_000, 1)
    assert 5 < info.duration < 9
    assert sample_path.stat().st_size < 200_000
