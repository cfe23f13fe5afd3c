"""What became of each figure of the soak over time: a table, a verdict and a picture."""
import dataclasses
import statistics

from curve import number
from drawing import STYLE, pyplot, save

WARM_UP = 0.1  # of the run
QUARTERS = 4
# Autovacuum comes once a minute and checkpoints every five: a quarter has to see some of each.
MIN_QUARTER_SECONDS = 600

MINUTE = 60
WIDTH = 13
PANEL_HEIGHT = 3.2


@dataclasses.dataclass
class Bound:
    """The last quarter may be so many times the second one, and so much more."""
    factor: float = 1.0
    more: float = 0.0
    may_not_fall: bool = False
    ceiling: float | None = None  # instead: no sample may be above it


# By how figures begin; the first that fits. Those that fit none are only shown.
BOUNDS = {
    # Half an hour at 2,000/s is 3.6 million operations: one byte lost of every third one is more than this.
    "memory, MB: session": Bound(1.02, 0.1),
    "memory, MB": Bound(1.05, 0.5),
    # The worker keeps connections to handlers that a burst needed until handlers or libcurl close them, up to
    # twice nexus_pg.max_in_flight (256): they come and go, and what matters is that there is an end to them.
    "descriptors: worker": Bound(ceiling=2 * 256 + 100),
    "descriptors": Bound(1.1, 10),
    "backends": Bound(1, 1),
    # A table keeps the most that it ever needed, and how soon a vacuum comes varies.
    "size, MB": Bound(1.1, 1),
    "open operations": Bound(1.2, 20),
    "closed per second": Bound(0.98, may_not_fall=True),
    "WAL, bytes per operation": Bound(1.1),
    "processor, us per operation": Bound(1.1, 1),
    # The disk decides these; it is the tails that it makes long.
    "latency, ms": Bound(1.2, 0.5),
    "tail, ms": Bound(1.5, 5),
}


def bound_of(name):
    return next((bound for beginning, bound in BOUNDS.items() if name.startswith(beginning)), None)


class Figure:
    """A figure's medians, of the quarters after the warm-up."""

    def __init__(self, name, samples, begin, end):
        self.name = name
        self.is_judged = (end - begin) / QUARTERS >= MIN_QUARTER_SECONDS
        self.quarters = []
        self.most = max((sample[name] for sample in samples if name in sample), default=None)
        for i in range(QUARTERS):
            low, high = (begin + (end - begin) * at / QUARTERS for at in (i, i + 1))
            values = [sample[name] for sample in samples if low < sample["seconds"] <= high and name in sample]
            self.quarters.append(statistics.median(values) if values else None)

    def verdict(self):
        bound = bound_of(self.name)
        _, second, _, last = self.quarters
        if bound is None:
            return "not judged"
        if bound.ceiling is not None:
            return "TOO MANY" if self.most > bound.ceiling else f"at most {cell(self.most)}"
        limit = bound.factor * (second or 0) + bound.more
        if second is None or last is None:
            said = "NO DATA"
        elif bound.may_not_fall:
            said = "FALLING" if last < limit else "flat"
        else:
            said = "GROWING" if last > limit else "flat"
        return said if self.is_judged or said == "flat" else "too short to say"

    def is_bad(self):
        return self.verdict().isupper()

    def limit(self):
        bound = bound_of(self.name)
        if bound is None or self.quarters[1] is None:
            return ""
        if bound.ceiling is not None:
            return f"<= {number(bound.ceiling)}"
        return f"{'>=' if bound.may_not_fall else '<='} {number(bound.factor * self.quarters[1] + bound.more)}"


def cell(value):
    return "-" if value is None else number(value)


def figures(samples):
    names = list(dict.fromkeys(name for sample in samples for name in sample if name not in ("seconds", "vacuums")))
    end = samples[-1]["seconds"] if samples else 0
    return [Figure(name, samples, end * WARM_UP, end) for name in names]


def print_table(all_figures):
    rows = [["median of each quarter", "first", "second", "third", "last", "limit", ""]]
    rows += [[figure.name, *map(cell, figure.quarters), figure.limit(), figure.verdict()] for figure in all_figures]
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    for row in rows:
        numbers = [text.rjust(width) for text, width in zip(row[1:-1], widths[1:-1])]
        print("  ".join([row[0].ljust(widths[0]), *numbers, row[-1]]))
    print("Latency and tail are without the commit that shows the close, but where a session sees it.")


# --- the picture ------------------------------------------------------------

# Title, how figures begin, whether the axis is logarithmic.
PANELS = [
    ("memory of its own, MB", ["memory, MB"], False),
    ("tables and indexes, MB", ["size, MB"], True),
    ("schedule to close without the commit that shows it, p50, ms", ["latency, ms"], True),
    ("schedule to close without the commit that shows it, p99, ms", ["tail, ms"], True),
    ("operations per second", ["closed per second"], False),
    ("open operations", ["open operations"], False),
    ("processor, us per operation", ["processor"], False),
    ("descriptors and backends", ["descriptors", "backends"], False),
]
COLUMNS = 2
LEAST_SHOWN = 1e-3  # of the largest one in a panel


def label(name):
    return name.partition(": ")[2] or name


def draw_panel(axes, samples, title, beginnings, is_log):
    names = dict.fromkeys(name for sample in samples for name in sample if name.startswith(tuple(beginnings)))
    largest = {name: max(sample.get(name, 0) for sample in samples) for name in names}
    axes.set_prop_cycle(color=pyplot.get_cmap("tab20").colors[::2] + pyplot.get_cmap("tab20").colors[1::2])
    for name in names:
        points = [(sample["seconds"] / MINUTE, sample[name]) for sample in samples if name in sample]
        if largest[name] > LEAST_SHOWN * max(largest.values()):
            axes.plot(*zip(*points), label=label(name), linewidth=1)
    axes.set_title(title, loc="left")
    if is_log:
        axes.set_yscale("log")
    else:
        axes.set_ylim(bottom=0)
    axes.axvspan(0, samples[-1]["seconds"] * WARM_UP / MINUTE, color="0.95", zorder=0)
    axes.set_xlim(left=0)
    axes.set_xlabel("minutes")
    axes.legend(loc="center left", bbox_to_anchor=(1, 0.5))


def draw(samples, title):
    if not samples:
        return
    rows = (len(PANELS) + COLUMNS - 1) // COLUMNS
    with pyplot.rc_context(STYLE):
        figure, places = pyplot.subplots(rows, COLUMNS, figsize=(WIDTH, PANEL_HEIGHT * rows), constrained_layout=True)
        figure.suptitle(title, fontsize=11)
        for place, panel in zip(places.flat, PANELS):
            draw_panel(place, samples, *panel)
        save(figure, "soak", "medians are taken of what is behind the grey")
