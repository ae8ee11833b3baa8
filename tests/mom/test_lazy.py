import subprocess
import sys

import pytest

import sculptor.mom


def test_import_of_the_package_loads_no_torch() -> None:
    code = (
        "import sys, sculptor.mom, sculptor.mom.models.config, sculptor.mom.layers.config;"
        "print([m for m in ('torch', 'numpy', 'triton', 'matplotlib') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_every_public_name_is_there_and_sorted() -> None:
    assert sorted(sculptor.mom.__all__) == sculptor.mom.__all__
    assert all(getattr(sculptor.mom, name).__name__ == name for name in sculptor.mom.__all__)
    with pytest.raises(AttributeError, match="Nothing"):
        _ = sculptor.mom.Nothing


def test_the_lower_floors_import_nothing_of_the_rest() -> None:
    code = (
        "import sys, sculptor.mom.engine.engine, sculptor.mom.models.modeling;"
        "print([m for m in sys.modules if m.startswith('sculptor.')"
        " and not m.startswith('sculptor.mom')])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
