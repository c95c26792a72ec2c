# SPDX-FileCopyrightText: The distri authors
# SPDX-License-Identifier: Apache-2.0

"""Medians, ratios, verdicts; as Markdown."""

import statistics

from rows import MEMORY, METRICS, OURS


def number(value, unit):
    if value >= 1000 and unit == "ms":
        text = f"{value:.0f}"
    elif value >= 20000:
        text = f"{value / 1000:.0f}k"
    elif value >= 1000:
        text = f"{value / 1000:.1f}k"
    else:
        text = f"{value:.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}" if value else "0"
    return text


def ratio(values, metric, implementation, other_metric, other):
    """The median of the ratios of each run, since what disturbs a run disturbs its neighbours; of the medians where runs are missing."""
    ours, theirs = values.get(metric, {}).get(implementation), values.get(other_metric, {}).get(other)
    if not ours or not theirs:
        return None
    if len(ours) == len(theirs):
        return statistics.median(a / b for a, b in zip(ours, theirs))
    return statistics.median(ours) / statistics.median(theirs)


def verdicts(values):
    """One for each target: metric, words for what must be reached, what was reached, whether it was."""
    for metric in METRICS:
        ours = values.get(metric.name, {}).get(OURS)
        for target in metric.targets:
            sign = "≤" if metric.less_is_better else "≥"
            if target.implementation:
                what = "" if target.metric in ("", metric.name) else f" ({target.metric})"
                words = f"{sign} {target.limit:g}× {target.implementation}{what}"
                reached = ratio(values, metric.name, OURS, target.metric or metric.name, target.implementation)
            else:
                words = f"{sign} {target.limit:g} {metric.unit}".strip()
                reached = statistics.median(ours) if ours else None
            passed = None if reached is None else reached <= target.limit if metric.less_is_better else reached >= target.limit
            yield metric, target, words, reached, passed


def table(values, implementations):
    """Rows for everything that was measured; a further line for a second target."""
    lines = [f"| | {' | '.join(implementations)} | must reach | reached | |", f"|---|{'---|' * len(implementations)}---|---|---|"]
    checks = {}
    for metric, target, words, reached, passed in verdicts(values):
        text = "–" if reached is None else f"{reached:.2f}{'×' if target.implementation else ''}"
        checks.setdefault(metric.name, []).append((words, text, passed))
    for metric in METRICS:
        if metric.name not in values:
            continue
        cells = []
        for name in implementations:
            samples = values[metric.name].get(name)
            cells.append(number(statistics.median(samples), metric.unit) if samples else "–")
        title = f"{metric.name}{', ' + metric.unit if metric.unit else ''}"
        for words, reached, passed in checks.get(metric.name, [("", "", "")]):
            mark = {True: "pass", False: "**miss**", None: "not measured", "": ""}[passed]
            lines.append(f"| {title} | {' | '.join(cells)} | {words} | {reached} | {mark} |")
            title, cells = "", [""] * len(implementations)
    return "\n".join(lines)


def beside_memory(values):
    """What is missed, beside a server that answers from memory: the rest of the way is not ours to go."""
    lines = []
    for name in dict.fromkeys(metric.name for metric, _, _, _, passed in verdicts(values) if passed is False):
        reached = ratio(values, name, OURS, name, MEMORY)
        if reached is not None:
            lines.append(f"- {name}: {reached:.2f}× of the memory server")
    return "Missed, and how that compares with the memory server in the same run:\n\n" + "\n".join(lines) if lines else ""


def profile_table(profiles):
    """Where the time of an operation went: the daemon's processor time, requests, the disk."""
    lines = ["| | | ms | daemon on a processor | answers | µs of the daemon an answer | µs in all an answer | daemon slept | disk reads | MB |",
             "|---|---|---|---|---|---|---|---|---|---|"]
    groups = {}
    for sample in profiles:
        groups.setdefault((sample["metric"], sample["implementation"]), []).append(sample)
    for (metric, implementation), samples in groups.items():
        value = {key: statistics.median(sample[key] for sample in samples) for key in samples[0] if key not in ("metric", "implementation")}
        answers = value["writes"]
        each, total = (f"{value[key] / answers / 1e3:.1f}" if answers else "–" for key in ("cpu_ns", "ns"))
        cells = [metric, implementation, f"{value['ns'] / 1e6:.1f}", f"{value['cpu_ns'] / value['ns']:.0%}", f"{answers:.0f}", each, total,
                 f"{value['waits']:.0f}", f"{value['disk_reads']:.0f}", f"{value['disk_bytes'] / 1e6:.0f}"]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)
