import subprocess
import sys

import pytest

import sculptor.store


def test_every_public_name_is_there_and_sorted() -> None:
    names = sculptor.store.__all__
    assert names == sorted(names, key=lambda name: (not name.isupper(), name[0].islower(), name))
    assert all(hasattr(sculptor.store, name) for name in names)
    with pytest.raises(AttributeError, match="Nothing"):
        _ = sculptor.store.Nothing


def test_importing_the_face_loads_no_database() -> None:
    code = "import sys, sculptor.store; print('sqlite3' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
