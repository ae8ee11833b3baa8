"""Which of four options a reply settles on, read as OpenCompass reads multiple choice.

A list of phrasings is tried in a fixed order, Chinese ones first; the first that occurs anywhere
decides, and of several letters in what it caught the first of the alphabet counts. The last
resorts are any capital A to D before a colon and any at all, so nearly every reply has a letter.
The order and two slips are kept, because figures rest on them: one phrasing is two run together,
and some read whole words.
"""

import re
from collections.abc import Iterator

_LETTER = "([ABCD])"
_STRESSED = rf"\(?\*?\*?{_LETTER}\*?\*?\)?"
_BRACKETED = rf"\(?{_LETTER}\)?"

_CHINESE_LEADS = (
    r"答案是?\s*",
    r"答案是?\s*：\s*",
    r"答案是?\s*:\s*",
    r"答案选项应?该?是\s*",
    r"答案选项应?该?为\s*",
    r"答案应该?是\s*",
    r"答案应该?选\s*",
    r"答案选项为?\s*：\s*",
)
_CHINESE_LATER_LEADS = (r"答案选项是?\s*:\s*", r"答案为\s*", r"答案选\s*", r"选择?\s*")
_ONLY_ENDS = (r"错", r"不?正确", r"错误")
_WRONG_LEADS = (r"说法不?对选?项?的?是\s?", r"说法不?正确选?项?的?是\s?", r"说法错误选?项?的?是\s?")
_LAST_WORDS = (
    r"[\s，：:,]([ABCD])[。，,\.]?$",
    r"[\s，,：:][故即]([ABCD])[。\.]?$",
    r"[\s，,：:]因此([ABCD])[。\.]?$",
    r"[是为。]\s?([ABCD])[。\.]?$",
    r"因此\s?([ABCD])[。\.]?$",
    r"显然\s?([ABCD])[。\.]?$",
)


def read_letter(reply: str) -> str:
    """Return the letter, or nothing."""
    text = reply.strip()
    for pattern in _PATTERNS:
        match = pattern.search(text)
        if match:
            caught = match[1] or match[0]
            letter = next((letter for letter in "ABCD" if letter in caught), "")
            if letter:
                return letter
    return ""


def _phrasings() -> Iterator[str]:
    yield from (lead + _LETTER for lead in _CHINESE_LEADS)
    yield rf"答案选项为?\s+{_STRESSED}"
    yield from (lead + _LETTER for lead in _CHINESE_LATER_LEADS)
    yield rf"故选?\s*{_LETTER}只有选?项?\s?{_LETTER}\s?是?对"
    yield rf"只有选?项?\s?{_LETTER}\s?是?{_ONLY_ENDS[0]}"
    yield from (rf"只有选?项?\s?{_LETTER}\s?{end}" for end in _ONLY_ENDS[1:])
    yield from (lead + _LETTER for lead in _WRONG_LEADS)
    yield from (rf"{_LETTER}\s?{end}" for end in ("是正确的", "是正确答案"))
    yield from (rf"选项\s?{_LETTER}\s?正确", rf"所以答\s?{_LETTER}")
    yield from (rf"{lead}\s?([ABCD][.。$]?$)" for lead in ("所以", "所有"))
    yield from _LAST_WORDS
    yield from (rf"{lead}\s?(\S+)(?:。|$)" for lead in ("答案是", "答案应该是", "答案为"))
    yield from _english_phrasings()
    yield from (rf"^选项\s?{_LETTER}", rf"^{_LETTER}\s?选?项")
    yield r"(\s|^)[ABCD][\s。，,：:\.$]"
    yield from (r"1.\s?(.*?)$", rf"1.\s?{_LETTER}[.。$]?$")
    yield from (rf"{_LETTER}:", _LETTER)


def _english_phrasings() -> Iterator[str]:
    yield rf"(?i)ANSWER\s*:\s*{_LETTER}"
    yield from (rf"[Tt]he answer is:?\s+{form}" for form in (_BRACKETED, _STRESSED))
    yield rf"[Tt]he answer is option:?\s+{_BRACKETED}"
    yield from (rf"[Tt]he correct answer is{option}:?\s+{_BRACKETED}" for option in ("", " option"))
    for subject in ("answer", "option", "answer option"):
        yield rf"[Tt]he correct {subject} is:?.*?boxed{{{_LETTER}}}"
    yield rf"[Tt]he answer to the question is:?\s+{_BRACKETED}"


_PATTERNS = tuple(re.compile(phrasing, re.DOTALL) for phrasing in _phrasings())
