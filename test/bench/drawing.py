"""Draws curves: one picture each, and one of all."""
import os

import environment
from curve import ROUNDS, median, values

# Where it keeps its caches; the home directory may not be ours to write to.
os.environ.setdefault("MPLCONFIGDIR", os.path.join(environment.OUT, "matplotlib"))

import matplotlib  # noqa: E402

matplotlib.use("Agg")

from matplotlib import pyplot, ticker  # noqa: E402

OURS = ["tab:blue", "tab:orange", "tab:green"]
REFERENCE = "0.45"
STYLE = {"font.size": 9, "axes.titlesize": 10, "axes.grid": True, "grid.color": "0.9", "axes.axisbelow": True,
         "axes.spines.top": False, "axes.spines.right": False, "legend.frameon": False, "legend.fontsize": 8}
WIDTH = 7.5
PANEL_HEIGHT = 2.9
OVERVIEW_PANELS = 2
DPI = 120


def plain(value, _=None):
    """100k rather than 10^5."""
    for unit, suffix in ((1e6, "M"), (1e3, "k")):
        if abs(value) >= unit:
            return f"{value / unit:g}{suffix}"
    return f"{value:g}"


def scale_x(axes, curve, xs):
    if curve.log_x:
        positive = [x for x in xs if x > 0]
        if len(positive) < len(xs):
            axes.set_xscale("symlog", linthresh=min(positive), linscale=0.5)
        else:
            axes.set_xscale("log")
        axes.xaxis.set_minor_locator(ticker.NullLocator())
        axes.set_xticks(xs)
    axes.xaxis.set_major_formatter(plain)


def scale_y(axes, panel):
    if panel.log_y:
        axes.set_yscale("log")
    else:
        axes.set_ylim(bottom=0)
    axes.yaxis.set_major_formatter(plain)


def draw_line(axes, line, points, color):
    middles = [median(point, line.key) for point in points]
    below = [middle - min(values(point, line.key)) for middle, point in zip(middles, points)]
    above = [max(values(point, line.key)) - middle for middle, point in zip(middles, points)]
    axes.errorbar([point["x"] for point in points], middles, yerr=[below, above], label=line.label, color=color,
                  linestyle="--" if line.dashed else "-", marker="s" if line.reference else "o", markersize=4,
                  linewidth=1.4, elinewidth=1, capsize=3)


def draw_panel(axes, curve, panel, points):
    colors = iter(OURS)
    for line in panel.lines:
        draw_line(axes, line, points, REFERENCE if line.reference else next(colors))
    scale_x(axes, curve, [point["x"] for point in points])
    scale_y(axes, panel)
    axes.set_xlabel(curve.x_label)
    axes.set_ylabel(panel.y_label)
    axes.legend(loc="best")


def save(figure, name, note=f"median of {ROUNDS} runs, bars from the least to the most"):
    figure.supxlabel(note, fontsize=7, color=REFERENCE)
    figure.savefig(os.path.join(environment.OUT, name + ".png"), dpi=DPI)
    pyplot.close(figure)


def draw(curve, points):
    with pyplot.rc_context(STYLE):
        count = len(curve.panels)
        figure, rows = pyplot.subplots(count, 1, squeeze=False, figsize=(WIDTH, PANEL_HEIGHT * count + 0.4),
                                       constrained_layout=True)
        figure.suptitle(curve.title, fontsize=11)
        for panel, axes in zip(curve.panels, rows[:, 0]):
            draw_panel(axes, curve, panel, points)
        save(figure, "curve-" + curve.name)


def draw_overview(measured):
    """The first panels of every curve, a row each."""
    with pyplot.rc_context(STYLE):
        figure, rows = pyplot.subplots(len(measured), OVERVIEW_PANELS, squeeze=False, constrained_layout=True,
                                       figsize=(OVERVIEW_PANELS * WIDTH * 0.8, PANEL_HEIGHT * len(measured)))
        for (curve, points), row in zip(measured, rows):
            row[0].set_title(curve.title, loc="left")
            for axes in row[len(curve.panels):]:
                axes.set_visible(False)
            for panel, axes in zip(curve.panels, row):
                draw_panel(axes, curve, panel, points)
        save(figure, "curves")
