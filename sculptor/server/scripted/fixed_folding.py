"""The paper's policy for PI-LLM: ten pieces, the last three stay, whatever they hold.

The prompt of arXiv 2508.04664 (Figure 7) has the model cut the stream into about ten fragments and
fold all but the last ones. Updates come in random order, so a key's last value need not lie there:
with few updates a key the policy cannot reach the values it has hidden, and it answers from what is
left. The pieces are tenths of the whole stream; as its end is protected and cannot be cut, only the
seven to be hidden are made.
"""

from sculptor.server.scripted.coverage_folding import cut_and_fold, fold_pieces
from sculptor.server.scripted.prompt import Prompt
from sculptor.server.scripted.reply import Reply
from sculptor.server.scripted.update_stream import read_update_stream

PIECES = 10
KEPT = 3


def fold_all_but_the_tail(prompt: Prompt) -> Reply | None:
    """Answer a PI-LLM prompt by the paper's fixed policy, or return None for any other."""
    stream = read_update_stream(prompt)
    if stream is None:
        return None
    answer = Reply(text=stream.answer())
    if prompt.toolset is None or not stream.updates or prompt.has_failed:
        return answer
    if prompt.results:
        return fold_pieces(prompt) or answer
    if stream.folded:
        return answer
    first, last = stream.updates[0].start, stream.updates[-1].end
    target = first + (last - first) * (PIECES - KEPT) / PIECES
    end = min((update.end for update in stream.updates), key=lambda at: abs(at - target))
    return cut_and_fold(prompt, stream.text, first, end, PIECES - KEPT)
