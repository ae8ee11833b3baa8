import xml.etree.ElementTree as ET

import pytest

from sculptor.mom.recipes.plot import line_plot


def test_a_plot_is_well_formed_and_holds_every_series() -> None:
    svg = line_plot(
        {"a<b": [(0, 1), (2, 3)], "flat": [(1, 1)]}, title="T&C", x_label="x", y_label="y"
    )
    root = ET.fromstring(svg)
    names = [e.text for e in root.iter() if e.tag.endswith("text")]
    assert {"a<b", "flat", "T&C", "x", "y"} <= set(names)
    lines = [e.get("points") for e in root.iter() if e.tag.endswith("polyline")]
    assert len(lines) == 2
    (x0, y0), (x1, y1) = (map(float, p.split(",")) for p in lines[0].split())
    assert x0 < x1
    assert y0 > y1


def test_an_empty_plot_is_refused() -> None:
    with pytest.raises(ValueError, match="nothing to plot"):
        line_plot({"a": []}, title="", x_label="", y_label="")
