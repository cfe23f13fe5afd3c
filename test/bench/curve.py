"""A curve: what is measured at each x, how it is drawn, and what its growth is called."""
import dataclasses
import math
import statistics
import typing

ROUNDS = 3

# How much dearer an operation may be at the largest x, where it should not depend on x.
LEVEL = 1.25
# How steep its cost may be between two neighbours, as a power of x, where it may grow with x.
STRAIGHT = 1.1


@dataclasses.dataclass
class Line:
    """One line of a picture: the values with this key of every run."""
    key: str
    label: str
    reference: bool = False
    dashed: bool = False


@dataclasses.dataclass
class Panel:
    y_label: str
    lines: list
    log_y: bool = False


@dataclasses.dataclass
class Cost:
    """What an operation costs, by the key of its values; allowed to grow with x, or not at all."""
    key: str
    label: str
    grows: bool = False


@dataclasses.dataclass
class Curve:
    """measure() returns a list of points: {"x": ..., "runs": [{key: value, ...}, ...]}."""
    name: str
    title: str
    x_label: str
    panels: list
    costs: list
    measure: typing.Callable
    also: list = dataclasses.field(default_factory=list)  # further keys for the table
    log_x: bool = True


def interleaved(xs, run):
    """Through all points, several times over: for states that can be had again."""
    points = [{"x": x, "runs": []} for x in xs]
    for _ in range(ROUNDS):
        for point in points:
            point["runs"].append(run(point["x"]))
    return points


def step_by_step(xs, grow, run):
    """Each point several times before the next one: for states that only grow."""
    points = []
    for x in xs:
        grow(x)
        points.append({"x": x, "runs": [run() for _ in range(ROUNDS)]})
    return points


def values(point, key):
    return [run[key] for run in point["runs"]]


def median(point, key):
    return statistics.median(values(point, key))


def number(value):
    if value and abs(value) < 10:
        return f"{value:.2f}"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.1f}"


# --- verdicts ---------------------------------------------------------------

def steepest(points, key):
    """The largest power of x with which the cost grows between two neighbours, and the second of these."""
    return max((math.log(median(b, key) / median(a, key)) / math.log(b["x"] / a["x"]), b["x"])
               for a, b in zip(points, points[1:]))


def verdict(points, cost):
    """A sentence, and whether the growth is worse than linear."""
    first, last = points[0], points[-1]
    ratio = median(last, cost.key) / median(first, cost.key)
    said = (f"{cost.label}: {number(median(first, cost.key))} at {first['x']:,}, "
            f"{number(median(last, cost.key))} at {last['x']:,}, a factor of {number(ratio)}")
    if cost.grows:
        power, x = steepest(points, cost.key)
        return f"{said}; at most with the power {power:.2f}, up to {x:,}", power > STRAIGHT
    return said, ratio > LEVEL


def complaints(curve, points):
    """Verdicts that are bad."""
    return [said for said, worse in (verdict(points, cost) for cost in curve.costs) if worse]


def print_verdicts(curve, points):
    for cost in curve.costs:
        said, worse = verdict(points, cost)
        print(f"  {'WORSE THAN LINEAR' if worse else 'not worse than linear'}: {said}")


# --- the table --------------------------------------------------------------

def keys(curve):
    """Each key once, as the lines and costs name them."""
    lines = [line.key for panel in curve.panels for line in panel.lines]
    return list(dict.fromkeys(lines + [cost.key for cost in curve.costs] + curve.also))


def cell(point, key):
    middle = median(point, key)
    spread = (max(values(point, key)) - min(values(point, key))) / 2 / middle if middle else 0
    return f"{number(middle)} ±{spread:.0%}"


def print_table(curve, points):
    rows = [[curve.x_label] + keys(curve)]
    rows += [[f"{point['x']:,}"] + [cell(point, key) for key in keys(curve)] for point in points]
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    print(f"\n{curve.title}\n")
    for row in rows:
        print("  " + "  ".join(text.rjust(width) for text, width in zip(row, widths)))
    print()
    print_verdicts(curve, points)
