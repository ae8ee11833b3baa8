"""What is logged of a failure: where it was, never what was held there."""

import subprocess
import sys

SCRIPT = """
import structlog
from sculptor.cli.logs import configure_logs

def fail(key, text):
    raise ValueError("odd input")

configure_logs("info")
try:
    fail("sk-secret-key-123456", "PRIVATE77")
except ValueError as error:
    structlog.get_logger("sculptor").error("request.failed", exc_info=error)
"""


def test_a_failure_s_log_holds_no_key_and_no_text_that_was_at_hand() -> None:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=True
    )
    assert "odd input" in done.stderr
    assert "fail" in done.stderr
    assert "locals" not in done.stderr
    assert "PRIVATE77" not in done.stderr
