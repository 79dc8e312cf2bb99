"""Charts place data where they belong; text is escaped; a page needs nothing from elsewhere."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET

import jinja2
import numpy as np
import pytest

from inspector.reports import charts, page, pictures
from inspector.store.pictures.overlay import Undrawable
from tests.unit.drawings import draw, encode

FLOOR = charts.HEIGHT - charts.BOTTOM


def bars(drawn: str) -> list[dict[str, str]]:
    return [each.attrib for each in ET.fromstring(drawn).iter("rect")]


def test_line_chart_corners_of_the_data_are_corners_of_the_box() -> None:
    drawn = charts.line_chart([charts.Series("a", (0, 1), (0, 2))], charts.Axis("x"), charts.Axis("y", 0, 2))
    line = next(ET.fromstring(drawn).iter("polyline"))
    assert line.attrib["points"] == f"{charts.LEFT}.0,{FLOOR}.0 {charts.WIDTH - charts.RIGHT}.0,{charts.TOP}.0"


def test_level_histogram_heights_are_shares_of_their_own_group() -> None:
    drawn = charts.level_histogram([0.1, 0.1, 0.1, 0.1], [1.4, 1.4])
    good, defective = bars(drawn)
    assert (good["class"], defective["class"]) == ("bar good", "bar defect")
    assert good["height"] == defective["height"]
    assert float(good["x"]) < float(defective["x"])


def test_level_histogram_extreme_levels_are_counted_in_the_last_bin() -> None:
    drawn = bars(charts.level_histogram([0.0, 0.5], [1.2, 900.0]))
    assert len(drawn) == 4
    assert max(float(bar["x"]) + float(bar["width"]) for bar in drawn) == charts.WIDTH - charts.RIGHT


@pytest.mark.parametrize(("good", "defective"), [([], []), ([0.2], []), ([], [3.0])])
def test_level_histogram_with_an_empty_group_is_drawn(good: list[float], defective: list[float]) -> None:
    assert len(bars(charts.level_histogram(good, defective))) == len(good) + len(defective)


def test_chart_names_are_escaped() -> None:
    series = [charts.Series("<b>", (0, 1), (0, 1)), charts.Series("two", (0, 1), (1, 0))]
    drawn = charts.line_chart(series, charts.Axis("a & b"), charts.Axis("y"))
    texts = [each.text for each in ET.fromstring(drawn).iter("text")]
    assert "<b>" in texts
    assert "a & b" in texts


@pytest.mark.parametrize(("low", "high"), [(0.0, 1.0), (-1.0, 4.0), (0.0, 0.07), (3.0, 412.0)])
def test_axis_ticks_are_within_it_and_few(low: float, high: float) -> None:
    ticks = charts.Axis("x", low, high).ticks()
    assert 3 <= len(ticks) <= 11
    assert low <= ticks[0]
    assert ticks[-1] <= high
    assert np.allclose(np.diff(ticks), ticks[1] - ticks[0])


def test_page_shell_loads_nothing_and_an_undefined_name_is_an_error() -> None:
    html = page.render("page.html.j2", title="<Bolts> & nuts")
    assert "&lt;Bolts&gt; &amp; nuts" in html
    assert not re.search(r"""(src|href)\s*=|@import|url\(""", html)
    with pytest.raises(jinja2.UndefinedError):
        page.render("page.html.j2")


def test_share_says_what_it_is_a_share_of() -> None:
    assert page.share(0.25, 8, (0.03, 0.65)) == "2 of 8 (3.0 to 65.0 %)"
    assert page.share(None, 0) == page.ABSENT


def test_pictures_are_small_data_uris() -> None:
    payload = encode(draw("disc", 1, size=(600, 900)))
    plain = pictures.frame_uri(payload)
    heated = pictures.heat_uri(payload, np.full((30, 45), 255, np.uint8))
    assert plain.startswith("data:image/jpeg;base64,/9j/")
    assert plain != heated
    assert len(plain) < 60_000
    with pytest.raises(Undrawable):
        pictures.frame_uri(b"no image")


def test_every_report_runs_no_script_and_loads_nothing() -> None:
    others = [path for path in page.TEMPLATES.glob("*.html.j2") if path.name != "page.html.j2"]
    assert all(path.read_text().startswith('{% extends "page.html.j2" %}') for path in others)
    made = page._environment().from_string('{% extends "page.html.j2" %}{% block main %}<p>a</p>{% endblock %}')
    html = made.render(software="1", made_at="now", title="a")
    policy = re.search('<meta http-equiv="content-security-policy" content="([^"]*)">', html)
    assert policy is not None
    assert html.index(policy[0]) < html.index("<style>") < html.index("<body")
    rules = dict(rule.strip().split(" ", 1) for rule in policy[1].split(";"))
    assert rules == {
        "default-src": "'none'",
        "img-src": "data:",
        "style-src": "'unsafe-inline'",
        "base-uri": "'none'",
        "form-action": "'none'",
    }
