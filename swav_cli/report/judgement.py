"""What judging a model says: a line or a row for each number, and what it was measured by."""

from __future__ import annotations

from typing import Any

from rich.table import Table

from swav_cli.errors import counted
from swav_cli.report.classifier import left_out, worst_classes
from swav_cli.report.tables import render


def describe_classifier(results: dict[str, Any]) -> str:
    lines = [
        f"{results['model']} on {results['judged_by']}: {counted(results['count'], 'picture')}, "
        f"{counted(results['classes'], 'class', 'classes')}",
        f"  top-1   {results['top1']:.2f} %, top-5 {results['top5']:.2f} %, mean of the classes "
        f"{results['mean_class_accuracy']:.2f} %; always the commonest class: {results['majority_class']:.2f} %",
    ]
    worst = worst_classes(results["per_class"])
    if worst and len(results["per_class"]) > 2:
        lines.append(f"  weakest {', '.join(f'{name} {accuracy:.1f} %' for name, accuracy in worst)}")
    if results["unread"]:
        lines.append(f"  {left_out(results['unread'])}")
    return "\n".join([*lines, f"  by      {results['protocol']}"])


def describe_features(results: dict[str, Any]) -> str:
    """A table of the network's numbers beside those of the same network untrained."""
    learnt, pixels = results["learnt"], results.get("raw_pixels", {})
    bank = f", neighbours among {results['bank']}" if results["bank"] else ""
    heading = f"{results['model']} on {results['judged_by']}: {counted(results['pictures'], 'picture')}{bank}"
    table = Table(box=None, pad_edge=False)
    table.add_column("")
    for name in ("learnt", "untrained", *(["raw pixels"] if pixels else [])):
        table.add_column(name, justify="right", no_wrap=True)
    for row in feature_rows(results):
        table.add_row(*row)
    lines = [heading, render(table)]
    if learnt["unread"]:
        lines.append(left_out(learnt["unread"]))
    return "\n".join([*lines, f"by {results['protocol']}"])


def feature_rows(results: dict[str, Any]) -> list[list[str]]:
    """A row for each number: its name, then what is learnt, what was there untrained, and of some what pixels give."""
    learnt, untrained = results["learnt"], results["untrained"]
    return [*_knn_rows(learnt, untrained, results.get("raw_pixels", {})), *_other_rows(learnt, untrained)]


def describe_svm(results: dict[str, Any]) -> str:
    trained, judged = results["pictures"]
    lines = [
        f"{results['model']}: linear SVMs trained on {counted(trained, 'picture')} of {results['trained_on']}, "
        f"judged by {judged:,} of {results['judged_by']}",
        f"  {results['metric']} {results['score']:.2f} % over {counted(results['classes'], 'class', 'classes')}",
    ]
    worst = worst_classes(results["per_class"])
    if worst and len(results["per_class"]) > 2:
        lines.append(f"  weakest {', '.join(f'{name} {value:.1f} %' for name, value in worst)}")
    if results["unread"]:
        lines.append(f"  {left_out(results['unread'])}")
    if not results["converged"]:
        lines.append("  the solver stopped before its end, so a little more may be had")
    return "\n".join([*lines, f"  by {results['protocol']}"])


def _knn_rows(learnt: dict[str, Any], untrained: dict[str, Any], pixels: dict[str, Any]) -> list[list[str]]:
    columns = [each["knn"] for each in (learnt, untrained, pixels) if "knn" in each]
    rows = []
    for cells in zip(*columns, strict=True):
        asked = cells[0]
        voted = "" if asked["neighbours"] == asked["k"] else f" (there are {asked['neighbours']})"
        rows.append([f"k-NN top-1 %, k = {asked['k']}{voted}, T = {asked['temperature']:g}"])
        rows[-1] += [f"{cell['top1']:.2f}" for cell in cells]
    return rows


WORDS = {
    ("clusters", "nmi"): "prototypes and classes: mutual information (NMI)",
    ("clusters", "adjusted_rand"): "prototypes and classes: adjusted Rand",
    ("clusters", "purity"): "prototypes and classes: purity",
    ("prototypes", "used"): "prototypes used",
    ("prototypes", "perplexity"): "perplexity of their use",
    ("rank", ""): "effective rank of the features (RankMe)",
    ("rank_of_embeddings", ""): "effective rank of the embeddings",
    ("uniformity", ""): "uniformity (lower: spread more evenly)",
    ("alignment", ""): "alignment (lower: two views are nearer)",
}


def _other_rows(learnt: dict[str, Any], untrained: dict[str, Any]) -> list[list[str]]:
    rows = []
    for (group, key), words in WORDS.items():
        if group in learnt:
            values = [each[group][key] if key else each[group] for each in (learnt, untrained)]
            whole = isinstance(values[0], int)
            rows.append([words, *(str(value) if whole else f"{value:.3f}" for value in values)])
    return rows
