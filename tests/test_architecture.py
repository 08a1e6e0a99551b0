"""The layering, the two walls, the single doors and the declared dependencies, read from the imports."""

import ast
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "ser_cache"

# A module may import from lower layers, and from siblings in its own folder. A folder counts as one module.
LAYERS = {
    "errors": 0,
    "files": 0,
    "settings": 1,
    "extractor": 1,
    "containers": 0,
    "audio": 1,
    "tables": 1,
    "devices": 1,
    "clipping": 2,
    "manifest": 2,
    "metrics": 1,
    "statistics": 1,
    "learning_rate_search": 1,
    "schedules": 1,
    "corpora": 2,
    "paired": 2,
    "environment": 1,
    "mixing": 1,
    "stacked_layers": 1,
    "training_options": 2,
    "packing": 2,
    "standardising": 3,
    "feature_sources": 4,
    "emotions": 3,
    "joined_features": 4,
    "cross_corpus": 5,
    "backbones": 3,
    "mfcc": 3,
    "catalogue": 3,
    "length_leaks": 3,
    "languages": 2,
    "importing": 3,
    "given_files": 3,
    "splits": 3,
    "audit": 4,
    "store": 3,
    "heads": 3,
    "stacks": 4,
    "training": 5,
    "extraction": 4,
    "protocols": 4,
    "results": 5,
    "packaged": 0,
    "crowd": 1,
    "published": 1,
    "clustering": 6,
    "official": 3,
    "checking": 4,
    "distributions": 3,
    "description": 4,
    "sections": 0,
    "fold_training": 7,
    "kept_folds": 8,
    "probing": 9,
    "tasks": 6,
    "functionals": 1,
    "baselines": 7,
    "run_differences": 6,
    "comparison": 7,
    "staleness": 7,
    "clustering_staleness": 8,
    "restoring": 6,
    "prediction": 7,
    "layer_analysis": 6,
    "plots": 7,
    "reproduction": 10,
    "demo": 10,
    "cli": 11,
}

# Who alone may import it: a second door would be a second place to get the same thing subtly wrong.
DOORS = {
    "h5py": {"store"},
    "transformers": {"backbones"},
    "huggingface_hub": {"backbones"},
    "soundfile": {"audio"},
    "soxr": {"audio"},
    "librosa": {"mfcc"},
    "click": {"cli"},
    "rich": {"cli"},
    "espeakng_loader": {"demo"},
    "matplotlib": {"plots"},
}

STAGE_TWO = (
    "probing",
    "clustering",
    "functionals",
    "baselines",
    "cross_corpus",
    "emotions",
    "run_differences",
    "comparison",
    "staleness",
    "clustering_staleness",
    "reproduction",
    "layer_analysis",
    "plots",
)
STAGE_ONE = {"audio", "backbones", "extraction", "mfcc", "importing", "checking", "demo", "cli"}


def modules() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


def unit(path: Path) -> str:
    """The top-level module or folder of the package that a file belongs to."""
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


@cache
def imports(path: Path) -> tuple[str, ...]:
    """Every imported dotted name of a file, imports inside functions included, those for types alone not."""
    return tuple(_walk(ast.parse(path.read_text(encoding="utf-8"))))


def _walk(node: ast.AST) -> Iterator[str]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and ast.unparse(child.test) == "TYPE_CHECKING":
            continue
        if isinstance(child, ast.Import):
            yield from (alias.name for alias in child.names)
        elif isinstance(child, ast.ImportFrom):
            assert child.level == 0, "imports are absolute, so that they can be read and searched"
            yield child.module or ""
            yield from (f"{child.module}.{alias.name}" for alias in child.names)
        yield from _walk(child)


def own_units(path: Path) -> set[str]:
    """The units of the package that a file imports."""
    names = (name.split(".") for name in imports(path))
    return {
        parts[1]
        for parts in names
        if parts[0] == "ser_cache" and len(parts) > 1 and parts[1] != "__version__"
    }


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_module_imports_from_lower_layers_only(path: Path) -> None:
    if path == PACKAGE / "__init__.py":
        assert not own_units(path)
        return
    here = unit(path)
    assert here in LAYERS, f"{here} has no layer: give it one in LAYERS"
    upward = {name for name in own_units(path) - {here} if LAYERS.get(name, 99) >= LAYERS[here]}
    assert not upward


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_each_heavy_library_has_one_door(path: Path) -> None:
    imported = {name.split(".")[0] for name in imports(path)}
    trespassing = {name for name in imported & DOORS.keys() if unit(path) not in DOORS[name]}
    assert not trespassing


def reached_from(start: str) -> set[str]:
    """Every unit that a unit can reach through imports, those inside functions included."""
    reached: set[str] = set()
    waiting = [start]
    while waiting:
        here = waiting.pop()
        if here in reached:
            continue
        reached.add(here)
        for path in modules():
            if unit(path) == here:
                waiting.extend(own_units(path))
    return reached


@pytest.mark.parametrize("start", STAGE_TWO)
def test_stage_two_cannot_reach_audio_backbones_or_extraction(start: str) -> None:
    assert not reached_from(start) & STAGE_ONE


def test_only_what_goes_the_whole_way_joins_the_stages() -> None:
    # `ser predict` runs a backbone on new audio and a trained head on what it gives; the demonstration runs
    # all there is. Whatever else reached both would load a backbone where features are cached already.
    joining = {unit(path) for path in modules()} - {"__init__"}
    joining = {name for name in joining if {"extraction", "heads"} <= reached_from(name)}
    assert joining == {"prediction", "demo", "cli"}


@pytest.mark.parametrize("start", ["audio", "backbones", "mfcc", "extraction"])
def test_stage_one_knows_nothing_of_heads_and_training(start: str) -> None:
    assert not reached_from(start) & {"heads", "training", "probing", "results", "protocols", "splits"}


def test_every_imported_library_is_declared() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    declared = [
        *project["dependencies"],
        *(line for extra in ("demo", "plot") for line in project["optional-dependencies"][extra]),
    ]
    names = {re.split(r"[><=\[ ]", line)[0].replace("-", "_") for line in declared}
    names = {{"scikit_learn": "sklearn"}.get(name, name) for name in names}  # imported by another name
    imported = {name.split(".")[0] for path in modules() for name in imports(path)}
    third_party = imported - set(sys.stdlib_module_names) - {"ser_cache"}
    assert third_party <= names | {"huggingface_hub"}, (
        "huggingface_hub comes with transformers, its only caller"
    )
    assert names <= third_party, "a dependency that nothing imports"


def loaded_after(statement: str) -> set[str]:
    """The top-level modules in memory after a statement has run in a fresh interpreter."""
    code = f"import sys\n{statement}\nprint(*{{name.split('.')[0] for name in sys.modules}})"
    finished = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(finished.stdout.splitlines()[-1].split())


@pytest.mark.parametrize(
    ("statement", "absent"),
    [
        ("import ser_cache.cli", {"torch", "transformers", "h5py", "librosa", "soundfile", "numpy"}),
        ("import ser_cache.store", {"torch", "transformers", "librosa", "soundfile"}),
        ("import ser_cache.backbones.registry", {"torch", "transformers", "h5py"}),
        ("import ser_cache.catalogue", {"torch", "transformers", "numpy", "soundfile"}),
        ("import ser_cache.results", {"torch", "transformers"}),
        ("import ser_cache.learning_rate_search, ser_cache.schedules", {"torch", "numpy"}),
        ("import ser_cache.comparison", {"torch", "transformers", "h5py", "scipy"}),
        ("import ser_cache.results.query, ser_cache.results.detail", {"torch", "transformers", "h5py"}),
        ("import ser_cache.restoring", {"transformers", "librosa", "soundfile"}),
        ("import ser_cache.layer_analysis, ser_cache.plots", {"torch", "transformers", "matplotlib"}),
        ("import ser_cache.clustering", {"torch", "transformers", "h5py", "sklearn", "matplotlib"}),
        ("import ser_cache.baselines", {"torch", "transformers", "sklearn", "h5py", "matplotlib"}),
        ("import ser_cache.reproduction", {"torch", "transformers", "matplotlib"}),
        ("import ser_cache.probing", {"transformers", "librosa", "soundfile", "matplotlib", "sklearn"}),
    ],
)
def test_an_import_stays_light(statement: str, absent: set[str]) -> None:
    assert not loaded_after(statement) & absent


def test_the_packaged_code_adds_no_top_level_module_but_its_own() -> None:
    wheel = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["hatch"]["build"][
        "targets"
    ]["wheel"]
    assert wheel["packages"] == ["ser_cache"]
