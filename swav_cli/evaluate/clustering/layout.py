"""A place on a flat map for each picture: those that are near in the space of features lie near each other."""

from __future__ import annotations

import hashlib
import warnings
from importlib.util import find_spec

import numpy as np
from numpy.typing import NDArray

from swav_cli.evaluate.clustering.found import Found
from swav_cli.evaluate.clustering.kept import Kept
from swav_cli.evaluate.clustering.near import nearest

MAPPED = 10_000  # pictures that are laid out together; t-SNE of so many takes about a minute
LEAST_BY_UMAP, MAPPED_BY_UMAP = 1_000, 100_000
BESIDE = 3  # laid-out pictures beside the nearest of which others are put
NEIGHBOURS = 15  # that UMAP looks at


def laid_out(found: Found, kept: Kept, dots: int | None = None) -> NDArray[np.float32]:  # (N, 2)
    """`lay_out`, or what the folder knows of the same pictures in the same order."""
    dots = None if dots is None or dots >= found.read.sum() else dots
    digest = hashlib.blake2b(f"{by_what(found, dots)} {dots}".encode(), digest_size=16)
    for part in (found.points, found.read):
        digest.update(np.ascontiguousarray(part).data)
    of = np.frombuffer(digest.digest(), dtype=np.uint8)
    known = kept.layout()
    if known is not None and np.array_equal(known["of"], of):
        return known["places"]
    places = lay_out(found, dots)
    kept.keep_layout({"of": of, "places": places})
    return places


def by_what(found: Found, dots: int | None = None) -> str:
    """How pictures come to their places, in a sentence."""
    count = min(int(found.read.sum()), dots or len(found.paths))
    if count <= NEIGHBOURS + 1:
        return "Pictures lie along the two main directions of their features."
    name, most = ("UMAP", MAPPED_BY_UMAP) if _takes_umap(count) else ("t-SNE", MAPPED)
    if count <= most:
        return f"Pictures are laid out by {name}."
    return f"{most:,} pictures, evenly spread, are laid out by {name}, the others between the nearest of those."


def _takes_umap(count: int) -> bool:
    """Of fewer, t-SNE has come to its end before umap-learn is compiled."""
    return count >= LEAST_BY_UMAP and find_spec("umap") is not None


def lay_out(found: Found, dots: int | None = None) -> NDArray[np.float32]:  # (N, 2)
    """By UMAP where umap-learn is installed, else by t-SNE from the two main directions; the same every time.

    Of more pictures than either takes in reasonable time so many are laid out, evenly spread, and the others are put
    between the three nearest of them. A picture that can't be read has no place: NaN.

    Args:
        dots: of more pictures only so many get a place, evenly spread.
    """
    read = _evenly(np.flatnonzero(found.read), dots or len(found.paths))
    has_umap = _takes_umap(len(read))
    chosen = _evenly(read, MAPPED_BY_UMAP if has_umap else MAPPED)
    places = np.full((len(found.paths), 2), np.nan, dtype=np.float32)
    few = len(chosen) <= NEIGHBOURS + 1
    points = found.points[chosen]
    places[chosen] = _main_directions(points) if few else _by_umap(points) if has_umap else _by_tsne(points)
    rest = np.setdiff1d(read, chosen)
    if len(rest):
        places[rest] = places[chosen[nearest(points, BESIDE, found.points[rest]).ids]].mean(axis=1)
    return places


def _evenly(numbers: NDArray[np.int64], most: int) -> NDArray[np.int64]:
    return numbers[np.linspace(0, len(numbers) - 1, most, dtype=int)] if len(numbers) > most else numbers


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
