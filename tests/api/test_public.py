"""What `import accord` gives, and what it costs."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import accord

SOURCE = Path(accord.__file__)


@pytest.mark.parametrize("name", accord.__all__)
def test_every_public_name_is_there_and_documented(name: str):
    value = getattr(accord, name)
    assert value.__doc__
    assert name in dir(accord)


def test_what_type_checkers_see_is_what_is_public():
    tree = ast.parse(SOURCE.read_text())
    (block,) = [node for node in tree.body if isinstance(node, ast.If)]
    seen = {alias.name for node in block.body if isinstance(node, ast.ImportFrom) for alias in node.names}
    assert seen | {"__version__"} == set(accord.__all__)
    assert (SOURCE.parent / "py.typed").is_file()


def test_importing_it_loads_nothing():
    code = (
        "import sys, accord; accord.UserError; "
        "print([name for name in ('torch', 'pydantic', 'yaml', 'numpy') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_checking_and_listing_runs_needs_no_torch():
    code = "import sys, accord; accord.check_recipe, accord.load_run; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_no_public_name_is_also_a_module():
    """Importing a submodule sets an attribute of the package, which would take the place of a function."""
    modules = {path.stem for path in SOURCE.parent.iterdir()}
    assert not modules & set(accord.__all__)


def test_another_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="module 'accord' has no attribute 'train'"):
        _ = accord.train
