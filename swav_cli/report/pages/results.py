"""What was measured of runs, as tables with their protocols."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from swav_cli.recipe.schema import Recipe
from swav_cli.report.judgement import feature_rows
from swav_cli.report.pages.headline import is_finite
from swav_cli.report.pages.subjects import Subject, classifiers_beside

WEAKEST = 20  # classes told of at once; all where somebody asks


class Table(NamedTuple):
    title: str
    columns: Sequence[str]  # the first one's are words, the others numbers
    rows: Sequence[Sequence[str]]
    protocols: Sequence[str] = ()
    more: Sequence[Sequence[str]] = ()  # rows that are shown where somebody asks


def tables_of(subject: Subject) -> list[Table]:
    """All that is known of one run."""
    found = _of_pretraining(subject) if subject.is_pretraining else _of_classifier(subject)
    return [table for table in found if table.rows]


def compared(subjects: Sequence[Subject]) -> Table:
    """Several runs in one table, a row for each number that some of them have."""
    columns = [dict(_measured(subject)) for subject in subjects]
    names = list(dict.fromkeys(name for column in columns for name in column))
    rows = [[name, *(column.get(name, "") for column in columns)] for name in names]
    said = [(subject.name, words) for subject in subjects for table in tables_of(subject) for words in table.protocols]
    same = {words for _, words in said}
    protocols = [
        f"{', '.join(dict.fromkeys(name for name, other in said if other == words))}: {words}"
        for words in dict.fromkeys(words for _, words in said if words in same)
    ]
    return Table("", ["", *(subject.name for subject in subjects)], rows, protocols)


def _measured(subject: Subject) -> list[tuple[str, str]]:
    """Each number of a run by its name, as far as it can stand beside another run's."""
    results, found = subject.results, []
    if is_finite(subject.last.get("loss_over_ln_k")):
        found.append(("loss, of ln K", f"{subject.last['loss_over_ln_k']:.3f}"))
    if subject.is_pretraining:
        for table in _of_pretraining(subject):
            prefix = f"{table.title.split(':')[0]}: "
            found += [(prefix + row[0], row[1]) for row in table.rows if len(row) > 1]
    else:
        found += [(row[0], row[1]) for row in _of_classifier(subject)[0].rows]
    if is_finite(results.get("seconds")):
        found.append(("seconds of training", f"{results['seconds']:,.0f}"))
    return found


# --- pretraining ------------------------------------------------------------------------------------------------------


def _of_pretraining(subject: Subject) -> list[Table]:
    results, recipe = subject.results, subject.recipe
    found = []
    if is_finite(results.get("knn")) and isinstance(recipe, Recipe):
        names = [name for name in ("knn", "knn_untrained", "knn_raw_pixels") if is_finite(results.get(name))]
        heads = {"knn": "learnt", "knn_untrained": "untrained", "knn_raw_pixels": "raw pixels"}
        judged = recipe.evaluation
        row = [f"k-NN top-1 %, k = {judged.knn_k}, T = {judged.knn_temperature:g}"]
        found.append(
            Table(
                "At the run's end",
                ["", *(heads[name] for name in names)],
                [row + [f"{results[name]:.2f}" for name in names]],
                [
                    f"cosine k-NN on pooled features, votes weigh exp(cosine / T); judged by {recipe.data.val}, "
                    f"neighbours among {recipe.data.bank or recipe.data.train}"
                ],
            )
        )
    if isinstance(results.get("eval"), dict) and "learnt" in results["eval"]:
        found += _understood(_of_eval, results["eval"])
    if isinstance(results.get("svm"), dict):
        found += _understood(_of_svm, results["svm"])
    return [*found, _of_classifiers(subject)]


def _understood(table_of: Callable[[dict[str, Any]], Table], judged: dict[str, Any]) -> list[Table]:
    """None where another version has written other numbers."""
    try:
        return [table_of(judged)]
    except (KeyError, TypeError, ValueError):
        return []


def _of_eval(judged: dict[str, Any]) -> Table:
    heads = ["learnt", "untrained", *(["raw pixels"] if judged.get("raw_pixels") else [])]
    bank = f", neighbours among {judged['bank']}" if judged.get("bank") else ""
    return Table(
        f"By swav eval: {judged['judged_by']}{bank}", ["", *heads], feature_rows(judged), [judged.get("protocol", "")]
    )


def _of_svm(judged: dict[str, Any]) -> Table:
    return Table(
        f"By linear SVMs: {judged['judged_by']}",
        ["", judged["metric"]],
        [[f"trained on {judged['trained_on']}", f"{judged['score']:.2f} %"]],
        [judged.get("protocol", "")],
    )


def _of_classifiers(subject: Subject) -> Table:
    """Those trained on this run, that are noted with it or lie beside it."""
    told: dict[str, dict[str, Any]] = {
        key.partition(":")[2]: {"task": key.partition(":")[0], **value}
        for key, value in subject.results.items()
        if ":" in key and isinstance(value, dict) and is_finite(value.get("top1"))
    }
    told |= {path.name: results for path, results in classifiers_beside(subject.folder)}
    rows = [
        [f"{name} ({found.get('task', '')}, labels: {found.get('labels', 'all')})", *_per_cent(found, "top1", "top5")]
        for name, found in told.items()
    ]
    protocols = [
        f"{name}: judged by {found.get('judged_by', '')}; {found.get('protocol', '')}" for name, found in told.items()
    ]
    return Table("Classifiers trained on it", ["", "top-1 %", "top-5 %"], rows, protocols)


def _per_cent(found: dict[str, Any], *keys: str) -> list[str]:
    return [f"{found[key]:.2f}" if is_finite(found.get(key)) else "" for key in keys]


# --- classifiers ------------------------------------------------------------------------------------------------------


def _of_classifier(subject: Subject) -> list[Table]:
    results = subject.results
    names = {
        "top1": "top-1 %",
        "top5": "top-5 %",
        "mean_class_accuracy": "mean of the classes, %",
        "majority_class": "always the commonest class, %",
    }
    rows = [[words, f"{results[key]:.2f}"] for key, words in names.items() if is_finite(results.get(key))]
    best = results.get("best") or {}
    if is_finite(best.get("top1")):
        rows.append(
            [
                f"best top-1 %, after epoch {best['epoch']}: chosen by what judges it, so quote the last",
                f"{best['top1']:.2f}",
            ]
        )
    rows += [[f"{layer}, top-1 %", f"{found['top1']:.2f}"] for layer, found in (results.get("layers") or {}).items()]
    judged = f"On {results.get('count', '?')} pictures of {results.get('judged_by', '?')}"
    return [Table(judged, ["", ""], rows, [results["protocol"]] if "protocol" in results else []), _of_classes(results)]


def _of_classes(results: dict[str, Any]) -> Table:
    per_class = results.get("per_class")
    known = [(str(name), found) for name, found in dict(per_class or {}).items() if is_finite(found)]
    rows = [[name, f"{accuracy:.1f}"] for name, accuracy in sorted(known, key=lambda pair: pair[1])]
    return Table("Weakest classes", ["class", "accuracy, %"], rows[:WEAKEST], more=rows[WEAKEST:])
