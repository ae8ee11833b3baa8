from sculptor.mom.language.protocol import (
    ARGUMENT_TOKENS,
    SPELLINGS,
    TEXT_BELOW,
    TEXT_OFFSET,
    TOOL_TOKENS,
    Protocol,
)
from sculptor.tools.registry import toolset


def test_every_id_means_one_thing_and_lies_below_the_text() -> None:
    ids = [*Protocol, *TOOL_TOKENS.values(), *ARGUMENT_TOKENS.values(), *TEXT_BELOW]
    assert len(set(ids)) == len(ids)
    assert max(ids) < TEXT_OFFSET
    assert not set(Protocol) & set(SPELLINGS)


def test_ids_never_change() -> None:
    assert (Protocol.BEGIN, Protocol.END, Protocol.CALL, Protocol.CALL_END) == (1, 2, 9, 11)
    assert TOOL_TOKENS["fold_fragment"] == 33
    assert ARGUMENT_TOKENS["fragment_ids"] == 70


def test_each_tool_of_the_product_and_each_argument_is_one_token() -> None:
    for name in ("full", "paper"):
        for tool in toolset(name).tools.values():
            assert tool.name in TOOL_TOKENS
            assert set(tool.arguments.model_fields) <= set(ARGUMENT_TOKENS)
