"""Summaries, where the server asks the scripted model for them: extracts, written by rule.

The request is the one that every summarizing model is sent (``sculptor.summaries``): a fixed
instruction, then each part with its ID, focus and limit before a text between two fence lines.
"""

import re
from collections.abc import Iterator

from sculptor.server.scripted.prompt import Prompt
from sculptor.server.scripted.reply import Reply
from sculptor.summaries import SUMMARY_PROMPT, ExtractiveSummarizer, SummaryJob
from sculptor.tokens import TokenCounter

_PART = re.compile(
    r"^ID: (?P<id>\S+)\nFocus: (?P<focus>[^\n]*)\nLimit: \d+ tokens\n"
    r"(?P<fence>----- [0-9a-f]+ -----)\n(?P<text>.*?)\n(?P=fence)$",
    re.DOTALL | re.MULTILINE,
)


def write_summaries(prompt: Prompt) -> Reply | None:
    """Answer a request for summaries, or return None for any other prompt."""
    if SUMMARY_PROMPT not in prompt.texts("system"):
        return None
    counter = TokenCounter()
    jobs = list(_jobs(prompt.question, counter))
    made = ExtractiveSummarizer(counter).summarize(jobs)
    pairs = zip(jobs, made, strict=True)
    return Reply(text="\n".join(f"=== {job.fragment_id} ===\n{s.text}" for job, s in pairs))


def _jobs(text: str, counter: TokenCounter) -> Iterator[SummaryJob]:
    for part in _PART.finditer(text):
        yield SummaryJob(
            fragment_id=part["id"],
            text=part["text"],
            focus=part["focus"],
            tokens=counter.count(part["text"]),
        )
