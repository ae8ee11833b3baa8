"""The PI-LLM experiments of the paper, the Sculptor paper's settings, and a long one of ours."""

from sculptor.evals.files import DataFiles
from sculptor.evals.pi_llm.options import Options
from sculptor.evals.pi_llm.task import PiLlm

UPDATES = (2, 3, 4, 6, 8, 12, 17, 24, 34, 48, 68, 97, 139, 197, 281, 400)
KEYS = (2, 3, 4, 5, 6, 8, 11, 15, 20, 26, 35, 46)
LENGTHS = (1, 2, 3, 4, 6, 10, 16, 25, 40)
SCULPTOR_UPDATES = (4, 8, 16, 32, 64, 128, 256)
LONG_UPDATES = (512, 1024, 2048)


def pi_llm_tasks(files: DataFiles) -> list[PiLlm]:
    """Return every PI-LLM task."""
    experiments = {
        "pi-llm": (
            "46 keys, 2 to 400 updates each, in random order",
            "exp_updates",
            [Options(n_tracked_updates=count) for count in UPDATES],
        ),
        "pi-llm-keys": (
            "2 to 46 keys at 125 and 350 updates",
            "exp_keys",
            [_keys(keys, updates) for updates in (125, 350) for keys in KEYS],
        ),
        "pi-llm-tracked": (
            "2 to 46 of 46 keys asked for, the stream as long throughout",
            "exp_tracked",
            [_subset(keys, updates) for updates in (125, 350) for keys in KEYS],
        ),
        "pi-llm-valuelength": (
            "values of 1 to 40 words at 4 and 20 updates",
            "exp_valuelength",
            [_values(length, updates) for updates in (4, 20) for length in LENGTHS],
        ),
        "pi-llm-sequential": (
            "as pi-llm, each key's updates in one block",
            "extra_exp_updates_randomoff",
            [Options(n_tracked_updates=count, random_update=False) for count in UPDATES],
        ),
        "pi-llm-sculptor": (
            "46 keys, 4 to 256 updates: the settings of the Sculptor paper",
            "exp_updates",
            [Options(n_tracked_updates=count) for count in SCULPTOR_UPDATES],
        ),
    }
    tasks = [
        PiLlm(name=name, summary=summary, experiment=experiment, cells=tuple(cells), files=files)
        for name, (summary, experiment, cells) in experiments.items()
    ]
    return [*tasks, _long_task(files)]


def _keys(keys: int, updates: int) -> Options:
    return Options(n_tracked_keys=keys, n_tracked_updates=updates)


def _subset(keys: int, updates: int) -> Options:
    return Options(
        n_tracked_keys=keys,
        n_untracked_keys=46 - keys,
        n_tracked_updates=updates,
        n_untracked_updates=updates,
    )


def _long_task(files: DataFiles) -> PiLlm:
    return PiLlm(
        name="pi-llm-long",
        summary="ours, not the benchmark's: 46 keys, 512 to 2048 updates, values in passes",
        experiment="own_updates_long",
        cells=tuple(Options(n_tracked_updates=count) for count in LONG_UPDATES),
        long=True,
        files=files,
    )


def _values(length: int, updates: int) -> Options:
    return Options(
        n_tracked_updates=updates,
        len_item=length,
        len_item_style="cap-strip",
        extra_output_format="redundantIntegrity",
    )
