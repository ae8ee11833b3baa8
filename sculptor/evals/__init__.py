"""Benchmarks that measure what working on one's own context is worth.

Importing this package loads nothing heavy: tasks, data and numbers are loaded where they are used.
"""

from sculptor.errors import EvalError
from sculptor.evals.types import Json, Message, Object, Sample, Score, Task

__all__ = ["EvalError", "Json", "Message", "Object", "Sample", "Score", "Task"]
