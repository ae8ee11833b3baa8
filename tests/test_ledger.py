"""The ledger is one more content part; every byte that the client wrote stays."""

import orjson
import pytest

from sculptor.context import Context
from sculptor.ledger import ledger_text, with_ledger
from sculptor.messages import parse_message
from sculptor.operations import Cut, Fold, Piece, Range
from sculptor.tokens import TokenCounter

LONG = "One line of it.\n" * 200
ODD = rb'"n":18446744073709551617, "x" :1.50e0,  "\u00e9":"\u2028"'


def context_with(last: bytes) -> Context:
    """Return a context with a fold in force that ends in a message of these bytes."""
    first = orjson.dumps({"role": "user", "content": LONG})
    more = rb'{"role":"user","content":"Read it."}'
    context = Context(seed=b"seed", counter=TokenCounter())
    context.extend(map(parse_message, (first, more, last)))
    where = Range(context.places[0], 0, 0, len(LONG))
    context.perform(Cut(where, (Piece(0, len(LONG), 1000),)), author="user")
    (leaf,) = context.fragments()
    context.perform(Fold((leaf.id,)), author="user")
    return context


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        (rb'"content" : "caf\u00e9 "', rb'"content" : [{"type":"text","text":"caf\u00e9 "},%b]'),
        (
            rb'"content":[ {"text":"a","type":"text" , "k":1.0} ]',
            rb'"content":[ {"text":"a","type":"text" , "k":1.0} ,%b]',
        ),
        (rb'"content":[ ]', rb'"content":[%b]'),
        (rb'"content":null', rb'"content":[%b]'),
        (rb'"z":0', rb'"z":0,"content":[%b]'),
    ],
)
def test_a_ledger_leaves_every_byte_of_the_message(given: bytes, shown: bytes) -> None:
    context = context_with(b'{"role":"user",%b, %b}' % (ODD, given))
    text = ledger_text(context)
    view = context.view().messages
    part = orjson.dumps({"type": "text", "text": text})
    made = with_ledger(context, view)
    assert made is not None
    assert made[:-1] == view[:-1]
    assert made[-1] == b'{"role":"user",%b, %b}' % (ODD, shown % part)


def test_no_ledger_stands_after_an_answer() -> None:
    context = context_with(b'{"role":"assistant","content":"Hm."}')
    assert with_ledger(context, context.view().messages) is None
