"""Write the needle set, the names and the reasoning chains that ship with the package.

Everything here is of our own making and comes from ``words.toml`` and fixed seeds, so that
``python evals/make_data.py`` writes the same bytes again. ``--check`` writes nothing and fails if
the shipped files differ.
"""

import argparse
import json
import random
import sys
import tomllib
from pathlib import Path

WORDS = tomllib.loads(Path(__file__).with_name("words.toml").read_text(encoding="utf-8"))
DATA = Path(__file__).parent.parent / "sculptor" / "evals" / "data"
NAMES_PER_LANGUAGE = 1024
CLAUSES = {
    "English": "{question} Please answer in the format '{form}'",
    "Chinese": "{question}请按照'{form}'的格式回答。",
}


def needle_lines() -> str:
    """Return every subject of a family with every keyword of it, in the upstream's schema."""
    records = [
        _needle(language, family, subject, keyword)
        for language, families in WORDS["families"].items()
        for family in families
        for subject in family["subjects"]
        for keyword in family["keywords"]
    ]
    return "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records)


def _needle(language: str, family: dict[str, str], subject: str, keyword: str) -> dict[str, str]:
    question, form = (family[name].format(a=subject) for name in ("question", "form"))
    return {
        "needle": family["needle"].format(a=subject, b=keyword),
        "arg1": subject,
        "arg2": keyword,
        "retrieval_question": CLAUSES[language].format(question=question, form=form),
        "language": language,
    }


def names_json() -> str:
    """Return the names, comma-joined per language as upstream."""
    english = [f"{first} {last}" for first in WORDS["first_names"] for last in WORDS["last_names"]]
    chinese = [surname + given for surname in WORDS["surnames"] for given in WORDS["given_names"]]
    rng = random.Random("sculptor-names")
    chosen = {
        "English": ",".join(rng.sample(english, NAMES_PER_LANGUAGE)),
        "Chinese": ",".join(rng.sample(chinese, NAMES_PER_LANGUAGE)),
    }
    return json.dumps(chosen, ensure_ascii=False, indent=0) + "\n"


def reasoning_json() -> str:
    """Return chains of 2 to 5 facts with a question that spans the whole chain."""
    records = []
    for language, chain in WORDS["chains"].items():
        rng = random.Random(f"sculptor-reasoning-{language}")
        for count, question in enumerate(chain["questions"], start=2):
            for item in chain["objects"]:
                words = [item, *(rng.choice(some) for some in chain["words"])]
                records.append(
                    {
                        "language": language,
                        "derivation_count": count,
                        "derivations": [link.format(*words) for link in chain["links"][:count]],
                        "question": question.format(item),
                        "answer": words[count],
                    }
                )
    return json.dumps(records, ensure_ascii=False, indent=0) + "\n"


def main() -> int:
    """Write the files, or with ``--check`` compare them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; fail on a difference")
    check = parser.parse_args().check
    made = {
        "sculptor_needles.jsonl": needle_lines(),
        "sculptor_names.json": names_json(),
        "sculptor_reasoning.json": reasoning_json(),
    }
    differing = []
    for name, text in made.items():
        path = DATA / name
        if not path.is_file() or path.read_text(encoding="utf-8") != text:
            differing.append(name)
            if not check:
                path.write_text(text, encoding="utf-8")
    print("differs: " + ", ".join(differing) if differing else "all as made here")
    return 1 if check and differing else 0


if __name__ == "__main__":
    sys.exit(main())
