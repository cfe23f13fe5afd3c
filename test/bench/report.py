"""The benchmark's table: what was measured, its reference or its aim, and which aims are missed."""
import statistics

# What a run must reach: of the bare client's throughput, and commits per operation.
MIN_OF_BARE = 0.25
MAX_COMMITS_PER_OPERATION = 0.05

RATIO = "{:.2f}"
MS = "{:.2f}"
US = "{:.1f}"


def over(rounds, *path):
    values = []
    for value in rounds:
        for key in path:
            value = value[key]
        values.append(value)
    return values


def figure(values, form="{:,.0f}"):
    median = form.format(statistics.median(values))
    return f"{median} ({form.format(min(values))} to {form.format(max(values))})"


def line(what, ours, third="", is_missed=False):
    mark = "  missed" if is_missed else ""
    print(f"{what:<52} {ours:<30} {third}{mark}".rstrip())


def aim(what, values, form, least=None, most=None):
    """A line whose third column is what the median, before it is rounded, should be."""
    median = statistics.median(values)
    if least is not None:
        line(what, figure(values, form), f"aim {least} or more", median < least)
    else:
        line(what, figure(values, form), f"aim {most} or less", median > most)


def print_throughput(rounds, sizes):
    bare = "bare libcurl " + figure(over(rounds, "bare", "per_second"))
    line("operations/s, one statement, from the SELECT", figure(over(rounds, "bulk", "per_second")), bare)
    aim("  of bare libcurl", over(rounds, "bulk", "of_bare"), RATIO, least=0.5)
    line("operations/s, one statement, from its COMMIT", figure(over(rounds, "bulk", "per_second_from_commit")), bare)
    line("  of bare libcurl", figure(over(rounds, "bulk", "of_bare_from_commit"), RATIO))
    line("commits per operation, one statement", figure(over(rounds, "bulk", "commits_per_operation"), "{:.4f}"),
         f"at most {MAX_COMMITS_PER_OPERATION}")
    line("  outcomes in a commit", figure(over(rounds, "bulk", "mean_group"), "{:.1f}"))
    line("  worker's processor time, us per operation", figure(over(rounds, "bulk", "worker_cpu_us"), US))
    line("  handler's processor, share of one", figure(over(rounds, "bulk", "handler_busy"), RATIO),
         "bare libcurl " + figure(over(rounds, "bare", "handler_busy"), RATIO))
    line(f"operations/s, {sizes['sessions']} sessions, a commit each", figure(over(rounds, "sessions", "per_second")),
         bare)
    line("  outcomes in a commit", figure(over(rounds, "sessions", "mean_group"), "{:.1f}"))


def print_async(rounds):
    line("asynchronous operations/s, one statement", figure(over(rounds, "async", "per_second")),
         "synchronous " + figure(over(rounds, "bulk", "per_second")))
    aim("  of the synchronous ones", over(rounds, "async", "of_sync"), RATIO, least=0.6)
    line("  from its COMMIT", figure(over(rounds, "async", "per_second_from_commit")),
         "synchronous " + figure(over(rounds, "bulk", "per_second_from_commit")))
    line("  commits that write, per operation", figure(over(rounds, "async", "transactions_per_operation"), "{:.4f}"),
         "synchronous " + figure(over(rounds, "bulk", "transactions_per_operation"), "{:.4f}"))
    line("  worker's processor time, us per operation", figure(over(rounds, "async", "worker_cpu_us"), US),
         "synchronous " + figure(over(rounds, "bulk", "worker_cpu_us"), US))
    line("  listener's processor time, us per operation", figure(over(rounds, "async", "listener_cpu_us"), US))
    line("  handler's processor, share of one", figure(over(rounds, "async", "handler_busy"), RATIO),
         "bare libcurl " + figure(over(rounds, "async", "bare", "handler_busy"), RATIO))
    line("  its answers/s to bare libcurl, no callbacks", figure(over(rounds, "async", "bare", "per_second")))


def print_many(rounds, sizes):
    many = f"{sizes['many_open']:,}"
    few = f"{sizes['few_open']:,}"
    line(f"operations/s, {many} others open", figure(over(rounds, "open", "many", "per_second")),
         f"{few} open: " + figure(over(rounds, "open", "few", "per_second")))
    aim(f"  of the speed with {few} open, median of ratios", over(rounds, "open", "of_few"), RATIO, least=0.9)
    aim("  worker's own memory, MB (Anonymous of smaps)", over(rounds, "open", "worker_mb"), "{:.1f}", most=64)
    line(f"beside {sizes['blocked']:,} at a blocked endpoint, and {sizes['hanging']:,} at a hanging endpoint, "
         f"{sizes['hanging_in_flight']} of them in flight:", "")
    line("  operations/s",
         figure(over(rounds, "beside", "per_second")), "alone " + figure(over(rounds, "beside", "alone", "per_second")))
    aim("  of the speed alone, median of ratios", over(rounds, "beside", "of_alone"), RATIO, least=0.95)
    line("  worker's processor time, us per operation", figure(over(rounds, "beside", "worker_cpu_us"), US))


def print_pg_net_runs(what, runs):
    """The best of the complete runs; nothing where there was none."""
    speeds = [f"{run['per_second']:,.0f} by {run['batch_size']}" + ("" if run["complete"] else ", incomplete")
              for run in runs]
    best = max((run["per_second"] for run in runs if run["complete"]), default=None)
    line(what, "no complete run" if best is None else f"{best:,.0f}", "; ".join(speeds))
    return best


def print_pg_net(rounds, version, sizes):
    if version is None:
        line("pg_net", "not installed")
        return
    best = print_pg_net_runs(f"pg_net {version}, requests/s, {sizes['count']:,}, best run",
                             over(rounds, "pg_net", "bulk"))
    if best is not None:
        aim("  ours are so many times that", [value / best for value in over(rounds, "bulk", "per_second")], "{:.1f}",
            least=10)
    print_pg_net_runs(f"  {sizes['pg_net_small']:,}, all in one batch", over(rounds, "pg_net", "small"))


def print_latency(rounds):
    for quantile in ("p50", "p99"):
        line(f"execute, ms, {quantile}", figure(over(rounds, "execute", "execute", quantile), MS),
             "HTTP + 2 commits " + figure(over(rounds, "execute", "reference", quantile), MS))
    aim("  above HTTP + 2 commits, ms, p50", over(rounds, "execute", "above"), MS, most=0.3)
    line("  its parts, ms, p50", "", "HTTP " + figure(over(rounds, "execute", "http", "p50"), MS)
         + ", commit " + figure(over(rounds, "execute", "commit", "p50"), MS))
    for quantile in ("p50", "p99"):
        line(f"completion sent to await returned, ms, {quantile}", figure(over(rounds, "await", "await", quantile), MS),
             "HTTP " + figure(over(rounds, "await", "http", quantile), MS)
             + ", commit " + figure(over(rounds, "await", "commit", quantile), MS))
    aim("  above one way of HTTP + 1 commit, ms, p50", over(rounds, "await", "above"), MS, most=0.2)


def print_sleepers(sleepers):
    if sleepers is None:
        line("sessions asleep in await", "not measured", "pg_stat_statements is not installed")
        return
    line(f"{sleepers['sessions']} sessions asleep in await, {sleepers['seconds']} s: statements",
         str(sleepers["statements"]), "aim 0", sleepers["statements"] > 0)
    line("  their wake-ups, processor ms", f"{sleepers['session_wakes']}, {sleepers['session_cpu_ms']:.1f}", "aim 0",
         sleepers["session_wakes"] > 0)
    line("  the worker's wake-ups, processor ms", f"{sleepers['worker_wakes']}, {sleepers['worker_cpu_ms']:.1f}", "aim 0",
         sleepers["worker_wakes"] > 0)


def print_idle(idle):
    def each(values, form):
        return ", ".join(form.format(values[name]) for name in ("worker", "launcher", "listener"))

    line("nothing open: wake-ups of worker, launcher, listener", each(idle["wakes"], "{}"), "aim 0",
         any(idle["wakes"].values()))
    line(f"  their processor ms in {idle['seconds']} s", each(idle["cpu_ms"], "{:.1f}"))


def print_table(result):
    where = result["machine"]
    sizes = result["sizes"]
    rounds = result["rounds"]
    settings = ", ".join(f"{name} {value}" for name, value in where["settings"].items())
    print(f"Linux {where['kernel']}, {where['cores']} x {where['cpu']}, PostgreSQL {where['postgresql']}, "
          f"libcurl {where['libcurl']}, nginx {where['nginx']}, data on {where['file_system']}")
    if where["file_system"] == "tmpfs":
        print("WARNING: the data is in memory, so commits cost less than anywhere else")
    print(f"{settings}; {sizes['count']} operations, {sizes['in_flight']} in flight, requests of "
          f"{result['request_bytes']} bytes; median of {len(rounds)} rounds (least to most)\n")
    print_throughput(rounds, sizes)
    print_async(rounds)
    print_many(rounds, sizes)
    print_pg_net(rounds, result["pg_net_version"], sizes)
    print_latency(rounds)
    print_idle(result["idle"])
    print_sleepers(result["sleepers"])
    print("""
A ratio is the median of the rounds' ratios, which need not be the ratio of the medians.  Where ours is compared with
ours, a round goes there and back, each run after a vacuum and a checkpoint, and a rate is of both runs together.
Commits are counted exactly: the transaction ids of the closed rows; those that write, by the server's counter of
transaction ids.  One handler process is not the limit as long as its share of a processor is well below 1.  All of
ours is durable; pg_net's tables are unlogged.""")


def failures(result):
    rounds = result["rounds"]
    if statistics.median(over(rounds, "bulk", "of_bare")) < MIN_OF_BARE:
        yield f"throughput is below {MIN_OF_BARE} of bare libcurl"
    if statistics.median(over(rounds, "bulk", "commits_per_operation")) > MAX_COMMITS_PER_OPERATION:
        yield f"more than {MAX_COMMITS_PER_OPERATION} commits per operation"
    if result["async_handler"]["refused"] > 0:
        yield "callbacks were refused"
