"""Names for requests, answers and lanes: unlike any other, and no secret.

They come from a generator seeded once by the system, because asking the system each time costs more
than the rest of naming. What must not be guessed (a session, its seed) is not named here.
"""

import random

_draw = random.Random()


def new_name() -> str:
    """Return 32 hexadecimal digits."""
    return f"{_draw.getrandbits(128):032x}"
