"""What a store acknowledged survives the death of its process."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from sculptor.store import LOCAL, SqliteStore
from sculptor.store.records import LaneId, SessionId

WRITES_FOR_EVER = """
import sys
from itertools import count
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from store.builders import Talk, random_line
from sculptor.store import SqliteStore
from sculptor.store.records import MoveHead
from dataclasses import replace
from threading import Thread

def work(number):
    talk = Talk(f"s{number}")
    store.write(talk.opening("Hi")).result()
    at = talk.lane().head
    for made, _ in random_line(number):
        said = talk.say(f"message {made.depth}")
        lane = replace(talk.lane(), version=made.version, depth=made.depth)
        move = MoveHead(lane=lane, expected=at)
        store.write([*said, talk.made(made), move]).result()
        at = lane.head
        sys.stdout.write(f"{number} {made.depth} {made.version} {talk.head.hex()}\\n")
        sys.stdout.flush()

store = SqliteStore(Path(sys.argv[1]))
threads = [Thread(target=work, args=(number,), daemon=True) for number in range(3)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
"""


@pytest.mark.parametrize("lines", [40, 150])
def test_a_kill_loses_no_acknowledged_write(tmp_path: Path, lines: int) -> None:
    path = tmp_path / "store.db"
    tests = Path(__file__).parent.parent
    writer = subprocess.Popen(
        [sys.executable, "-c", WRITES_FOR_EVER, str(path), str(tests)],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert writer.stdout is not None
    said = [writer.stdout.readline() for _ in range(lines)]
    writer.send_signal(signal.SIGKILL)
    said += writer.stdout.read().splitlines(keepends=True)
    writer.stdout.close()
    assert writer.wait() == -signal.SIGKILL
    newest = dict[str, tuple[int, str, str]]()
    for line in said:
        if line.endswith("\n"):
            number, depth, version, node = line.split()
            newest[number] = (int(depth), version, node)
    store = SqliteStore(path)
    assert store.verify() == []
    for number, (depth, version, node) in newest.items():
        session = SessionId(f"s{number}")
        lane = store.lane(LOCAL, session, LaneId("main"))
        assert lane is not None
        assert lane.depth - depth in (0, 1)
        line = store.operations(LOCAL, session, lane.version)
        assert line[lane.depth - depth].version == version
        assert [made.depth for made in line] == list(range(lane.depth, 0, -1))
        assert node in [each.id.hex() for each in store.path(LOCAL, session, lane.node)]
    store.close()
