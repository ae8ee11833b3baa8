import asyncio

import pytest

from sculptor.mom.engine.batch import Request
from sculptor.mom.language.protocol import Protocol
from sculptor.server.envelope import ApiError
from sculptor.server.mom.streams import Writer
from tests.server.mom.builders import Reciter, endless, say, text

PROMPT = Request(tokens=[Protocol.USER, Protocol.ASSISTANT], limit=10**6)


def test_closing_ends_what_is_written_and_refuses_more() -> None:
    writer = Writer(Reciter(endless), memory_bytes=0, width=2)

    async def main() -> None:
        pieces = writer.write(PROMPT)
        first = await anext(pieces)
        assert first.choices
        assert first.reason is None
        await asyncio.to_thread(writer.close)
        with pytest.raises(ApiError, match="server stops"):
            async for _ in pieces:
                pass
        with pytest.raises(ApiError, match="server stops"):
            await anext(writer.write(PROMPT))

    asyncio.run(main())
    writer.close()


def test_no_thread_runs_before_the_first_request() -> None:
    import threading

    before = threading.active_count()
    Writer(Reciter(say(text("x"))), memory_bytes=0, width=2).close()
    assert threading.active_count() == before
