"""What a person does with the sessions of a server: look, fold, search, undo, export.

Run it: python docs/examples/manage.py. It starts a server with the scripted backend and a store in
memory; point ``Sculptor`` at your own, by default http://127.0.0.1:8484.
"""

import asyncio
import logging

import structlog
from openai import OpenAI

from sculptor import AsyncSculptor, Sculptor
from sculptor.server.run import serve_in_thread
from sculptor.server.settings import Settings

LETTER = "".join(
    f"Paragraph {n}: the harvest was good and the roads were dry. " for n in range(120)
)


def talk(url: str) -> None:
    """Make a session, as any client of the proxy does."""
    with OpenAI(base_url=f"{url}/v1", api_key="none") as client:
        client.chat.completions.create(
            model="scripted",
            messages=[
                {"role": "user", "content": LETTER},
                {"role": "assistant", "content": "A long letter."},
                {"role": "user", "content": "Thank you."},
            ],
        )


def manage(url: str) -> None:
    with Sculptor(url) as sculptor:
        (row,) = sculptor.sessions()
        cut = sculptor.fragment(row.id, 0, num_fragments=4)
        done = sculptor.fold(
            row.id, f"{cut.fragments[0]}..{cut.fragments[2]}", reason="read already"
        )
        receipt = done.receipt
        print(f"Folded: {receipt.tokens_before} -> {receipt.tokens_after} tokens.")
        (found,) = sculptor.search(row.id, "Paragraph 7:")
        print(f"Found, though {found.hits[0].hidden}: {found.total}")
        for changed in sculptor.diff(row.id).messages:
            print(f"Message {changed.index}: {changed.tokens_before} -> {changed.tokens_after}")
        sculptor.undo(row.id, done.operation)
        print([f"{each.id} {each.kind}" for each in sculptor.operations(row.id)])
        print(sculptor.export(row.id, format="markdown").decode().splitlines()[0][:9])


async def tidy_up(url: str) -> None:
    async with AsyncSculptor(url) as sculptor:
        for row in await sculptor.sessions():
            await sculptor.delete(row.id)
        print(f"Sessions left: {len(await sculptor.sessions())}")


def main() -> None:
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    url, stop = serve_in_thread(Settings(store="memory", port=0, backend="scripted"))
    try:
        talk(url)
        manage(url)
        asyncio.run(tidy_up(url))
    finally:
        stop()


if __name__ == "__main__":
    main()
