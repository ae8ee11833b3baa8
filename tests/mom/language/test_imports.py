import subprocess
import sys
from pathlib import Path

import sculptor.mom.language


def test_the_language_imports_neither_torch_nor_the_rest_of_the_package() -> None:
    folder = Path(sculptor.mom.language.__path__[0])
    names = [f"sculptor.mom.language.{path.stem}" for path in folder.glob("[a-z]*.py")]
    code = (
        f"import sys, {', '.join(names)};"
        "print([m for m in sys.modules if m in ('torch', 'pydantic', 'huggingface_hub')"
        " or m.startswith('sculptor.') and not m.startswith('sculptor.mom')])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert len(names) > 10
    assert done.stdout.strip() == "[]"
