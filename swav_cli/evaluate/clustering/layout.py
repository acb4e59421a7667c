"""A place on a flat map for each picture: those that are near in the space of features lie near each other."""

from __future__ import annotations

import warnings
from importlib.util import find_spec

import numpy as np
from numpy.typing import NDArray

from swav_cli.evaluate.clustering.found import Found
from swav_cli.evaluate.clustering.near import nearest

MAPPED = 10_000  # pictures that are laid out together; t-SNE of so many takes about a minute
MAPPED_BY_UMAP = 100_000
BESIDE = 3  # laid-out pictures beside the nearest of which others are put
NEIGHBOURS = 15  # that UMAP looks at


def lay_out(found: Found) -> NDArray[np.float32]:  # (N, 2), NaN for pictures that can't be read
    """By UMAP where umap-learn is installed, else by t-SNE from the two main directions; the same every time.

    Of more pictures than either takes in reasonable time so many are laid out, evenly spread, and the others are put
    between the three nearest of them.
    """
    has_umap = find_spec("umap") is not None
    read = np.flatnonzero(found.read)
    most = MAPPED_BY_UMAP if has_umap else MAPPED
    chosen = read[np.linspace(0, len(read) - 1, min(len(read), most), dtype=int)] if len(read) else read
    places = np.full((len(found.paths), 2), np.nan, dtype=np.float32)
    few = len(chosen) <= NEIGHBOURS + 1
    points = found.points[chosen]
    places[chosen] = _main_directions(points) if few else _by_umap(points) if has_umap else _by_tsne(points)
    rest = np.setdiff1d(read, chosen)
    if len(rest):
        places[rest] = places[chosen[nearest(points, BESIDE, found.points[rest]).ids]].mean(axis=1)
    return places


def _main_directions(points: NDArray[np.float32]) -> NDArray[np.float32]:
    from sklearn.decomposition import PCA

    count = min(2, *points.shape)
    found = np.zeros((len(points), 2), dtype=np.float32)
    if len(points) > 1 and np.ptp(points, axis=0).any():
        found[:, :count] = PCA(count, random_state=0).fit_transform(points)
    return found


def _by_umap(points: NDArray[np.float32]) -> NDArray[np.float32]:
    import umap

    near = nearest(points, NEIGHBOURS - 1)
    own = np.arange(len(points), dtype=np.int32)[:, None]
    ids = np.concatenate([own, near.ids], axis=1)  # each is its own first neighbour there
    apart = np.concatenate([np.zeros_like(near.cosines[:, :1]), np.maximum(0, 1 - near.cosines)], axis=1)
    layout = umap.UMAP(
        n_neighbors=NEIGHBOURS, metric="cosine", init=_spread(points), random_state=0, n_jobs=1,
        precomputed_knn=(ids, apart, None),
    )  # fmt: skip
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # that no further pictures can be put on this map
        return np.asarray(layout.fit_transform(points), dtype=np.float32)


def _by_tsne(points: NDArray[np.float32]) -> NDArray[np.float32]:
    from sklearn.manifold import TSNE

    perplexity = min(30.0, (len(points) - 1) / 3)
    layout = TSNE(init=_spread(points) * 1e-5, perplexity=perplexity, metric="cosine", random_state=0, n_jobs=1)
    return np.asarray(layout.fit_transform(points), dtype=np.float32)


def _spread(points: NDArray[np.float32]) -> NDArray[np.float32]:
    """The two main directions, ten long: where a layout begins, so that it keeps the large structure."""
    found = _main_directions(points)
    return 10 * found / max(float(np.abs(found).max()), 1e-6)
