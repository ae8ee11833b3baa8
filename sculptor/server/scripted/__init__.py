"""The ``scripted`` backend: deterministic policies that use the tools over the wire.

They are for tests, plumbing and demonstrations. A policy knows the tasks it is made for, reads the
prompt it is sent like any model would, and never simulates forgetting: it scores alike with and
without the tools, so it says nothing about what the tools are worth to a language model.
"""

from sculptor.server.scripted.dispatch import IDEAL, PAPER, model_name
from sculptor.server.scripted.model import ScriptedModel
from sculptor.server.scripted.prompt import Prompt
from sculptor.server.scripted.reply import Reply, ToolCall

__all__ = ["IDEAL", "PAPER", "Prompt", "Reply", "ScriptedModel", "ToolCall", "model_name"]
