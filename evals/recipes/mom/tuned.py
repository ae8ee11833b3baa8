"""The best launch setting beside the present one, from the lines that `tune.py` wrote."""

from collections import defaultdict

from figures import Figures


def print_table(figures: Figures, kernels: tuple[str, ...]) -> None:
    """Print a line for each kernel and shape; times are summed over the kernel's variants."""
    print(f"{'kernel':<24}{'shape':<14}{'present ms':>11}{'best ms':>10}  best (present)")
    for kernel in kernels:
        rows = figures.find(kernel)
        for shape in dict.fromkeys(str(row["shape"]) for row in rows):
            line = _line([row for row in rows if row["shape"] == shape])
            if line:
                print(f"{kernel.removesuffix('_kernel'):<24}{shape:<14}{line}")


def _line(rows: list[dict[str, object]]) -> str:
    """Return the table's columns, none while the present setting is not timed throughout.

    Launches of other widths have settings of their own, so the best of each is taken.
    """
    parts = [_best([r for r in rows if _widths(r) == w]) for w in dict.fromkeys(map(_widths, rows))]
    if not all(parts):
        return ""
    before, after = (sum(float(str(part[i])) for part in parts) for i in (0, 1))
    words = [str(part[2]) for part in parts]
    return f"{before:>11.4f}{after:>10.4f}  " + "; ".join(words)


def _best(rows: list[dict[str, object]]) -> tuple[float, float, str] | tuple[()]:
    """Return present time, best time and the settings in words, of one pair of widths."""
    variants = {row["variant"] for row in rows}
    times: dict[str, dict[object, float]] = defaultdict(dict)
    for row in rows:
        if row["ok"] and row.get("ms") is not None:
            times[str(row["setting"])][row["variant"]] = float(str(row["ms"]))
    whole = {name: sum(t.values()) for name, t in times.items() if set(t) == variants}
    present = next((str(row["setting"]) for row in rows if row["present"]), "")
    if present not in whole:
        return ()
    best = min(whole, key=lambda name: whole[name])
    first, second, few = _widths(rows[0])
    where = f"{first}x{second}{' few' if few else ''}"
    return whole[present], whole[best], f"{where}: {best} ({present})"


def _widths(row: dict[str, object]) -> tuple[object, ...]:
    """Return what a row's setting is chosen by; lines from before serial chains could be few."""
    return row["first"], row["second"], row.get("few", False)
