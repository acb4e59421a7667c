"""SwAV for everyone: the public Python interface.

>>> import swav_cli
>>> model = swav_cli.load_model("runs/quickstart")
>>> features, paths = swav_cli.extract(model, "photos/")

Names are imported when they are first used, so that `import swav_cli` costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

_HOMES = {
    "About": "swav_cli.core.weights",
    "Embedder": "swav_cli.evaluate.embedder",
    "ExportRequest": "swav_cli.exports.formats",
    "FinetuneRecipe": "swav_cli.recipe.classifier_schema",
    "Inference": "swav_cli.evaluate.inference",
    "LARS": "swav_cli.core.optimizer",
    "LinearRecipe": "swav_cli.recipe.classifier_schema",
    "Model": "swav_cli.core.weights",
    "Queue": "swav_cli.core.objective",
    "Recipe": "swav_cli.recipe.schema",
    "SwAV": "swav_cli.core.model",
    "UserError": "swav_cli.errors",
    "assign_codes": "swav_cli.core.objective",
    "bench": "swav_cli.tasks.bench.measure",
    "export_model": "swav_cli.tasks.export",
    "describe_model": "swav_cli.tasks.models",
    "examine": "swav_cli.tasks.doctor.examine",
    "export": "swav_cli.tasks.export",
    "extract": "swav_cli.tasks.extract",
    "extract_features": "swav_cli.evaluate.features",
    "find_clusters": "swav_cli.tasks.clusters",
    "judge": "swav_cli.tasks.eval",
    "judge_by_svm": "swav_cli.tasks.eval_svm",
    "knn_accuracy": "swav_cli.evaluate.knn",
    "list_models": "swav_cli.zoo.catalogue",
    "list_runs": "swav_cli.tasks.watch",
    "load_as": "swav_cli.recipe.file",
    "load_model": "swav_cli.zoo.load",
    "load_recipe": "swav_cli.recipe.file",
    "nearest_pictures": "swav_cli.tasks.clusters",
    "open_pictures": "swav_cli.data.sources",
    "predict": "swav_cli.evaluate.prediction",
    "pretrain": "swav_cli.tasks.pretrain",
    "probe_classifier": "swav_cli.tasks.linear_eval_cached",
    "read_picture": "swav_cli.data.decoding.images",
    "sinkhorn": "swav_cli.core.sinkhorn",
    "swapped_prediction": "swav_cli.core.objective",
    "track": "swav_cli.tasks.track",
    "train_classifier": "swav_cli.tasks.classifier",
    "write_features": "swav_cli.tasks.extract",
    "write_parts": "swav_cli.tasks.extract_parts",
    "write_predictions": "swav_cli.tasks.predict",
    "write_report": "swav_cli.tasks.report",
}
__all__ = sorted(_HOMES)


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'swav_cli' has no attribute '{name}'")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return __all__
