"""Test that the code keeps the limits between packages, settings and libraries."""

import ast
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ("api", "worker", "shared", "local")


def parse_sources(package: str) -> Iterator[tuple[Path, ast.Module]]:
    for path in (ROOT / package).rglob("*.py"):
        yield path.relative_to(ROOT), ast.parse(path.read_text())


def test_only_the_settings_read_the_environment() -> None:
    readers = set()
    for package in PACKAGES:
        for path, tree in parse_sources(package):
            for node in ast.walk(tree):
                reads = isinstance(node, ast.Subscript) and isinstance(node.ctx, ast.Load)
                name = (
                    ast.unparse(node.value if isinstance(node, ast.Subscript) else node) if reads else ast.unparse(node)
                )
                if (reads and name == "os.environ") or name.startswith(("os.environ.", "os.getenv")):
                    readers.add(str(path))

    assert readers == set()  # pydantic-settings reads it for shared/settings.py


def test_only_the_entry_points_read_the_settings() -> None:
    builders = {
        str(path)
        for package in PACKAGES
        for path, tree in parse_sources(package)
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "Settings"
    }

    assert builders == {
        "api/__main__.py",
        "api/admin.py",
        "api/wsgi.py",
        "local/course.py",
        "local/demo.py",
        "local/recipes.py",
        "local/stack.py",
        "shared/database/migrations/env.py",
        "worker/__main__.py",
        "worker/scheduler.py",
        "worker/tidy.py",
        "worker/training_process.py",
    }


def test_exception_is_caught_only_in_the_listed_modules() -> None:
    catchers = {
        str(path)
        for package in PACKAGES
        for path, tree in parse_sources(package)
        for node in ast.walk(tree)
        if isinstance(node, ast.ExceptHandler) and (node.type is None or ast.unparse(node.type) == "Exception")
    }

    # Keras raises Exception itself when a download fails. The fast path answers such errors without Flask. What
    # reads files of strangers raises every kind for damaged ones, and layers refuse float64, and LiteRT networks, in
    # every way.
    assert catchers == {
        "api/http/reading/document_process.py",
        "api/ingestion/process.py",
        "api/planner/process/__main__.py",
        "api/protocols/fast_path.py",
        "shared/datasets/builtin.py",
        "shared/preprocessing/decoding_process.py",
        "worker/exports/lite_process.py",
        "worker/runner.py",
        "worker/training/agreement.py",
    }


@pytest.mark.parametrize("module", ["api.wsgi", "worker.app", "worker.runner", "local.stack"])
def test_light_processes_start_without_tensorflow_and_keras(module: str, tmp_path: Path) -> None:
    script = f"import json, sys, {module}; print(json.dumps(sorted(sys.modules)))"

    modules = run_python(script, tmp_path)

    assert not {"tensorflow", "keras", "onnxruntime", "openvino"} & set(modules)


def test_networks_are_planned_without_tensorflow(tmp_path: Path) -> None:
    script = (
        "import os, json, sys; os.environ['KERAS_BACKEND'] = 'openvino'; import api.planner.process.dry_run; "
        "print(json.dumps(sorted(sys.modules)))"
    )

    modules = set(run_python(script, tmp_path))

    assert "keras" in modules
    assert "tensorflow" not in modules


def run_python(script: str, data_dir: Path) -> list[str]:
    environment = {"PYTHONPATH": str(ROOT), "TRAINYARD_DATA_DIR": str(data_dir), "HOME": str(data_dir)}
    done = subprocess.run(
        [sys.executable, "-c", script], env=environment, cwd=data_dir, capture_output=True, check=True
    )
    names: list[str] = json.loads(done.stdout.splitlines()[-1])
    return names
