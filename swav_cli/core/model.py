"""SwAV = backbone + projection head + prototypes (arXiv 2006.09882, section 3 and appendix A)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from swav_cli.core.precision import full_precision
from swav_cli.core.resnet import ResNet
from swav_cli.core.timm_backbone import TIMM, make_timm_backbone, recompute_timm
from swav_cli.recipe.architectures import Stem


class SwAV(ResNet):
    """A backbone with a projection head and prototypes; a ResNet's tensors have the names of published checkpoints.

    >>> model = SwAV("resnet18", width=16, stem="small", prototypes=100)
    >>> large, small = torch.rand(2, 3, 32, 32), torch.rand(2, 3, 16, 16)
    >>> embedding, scores = model([large, large, small, small])
    >>> embedding.shape, scores.shape    # (V B, D) and (V B, K)
    (torch.Size([8, 128]), torch.Size([8, 100]))

    Args:
        backbone: a ResNet by name, or `timm:NAME`, which has none of the next four but `channels`.
        width, stem, channels, zero_init_residual: see `ResNet`.
        hidden_dim: width of the projection head's hidden layer; 0 makes the head one linear layer.
        embedding_dim: D, the size of an embedding; 0 leaves out the head, as in a network that others trained.
        prototypes: K, how many prototypes; 0 leaves them out.
        prototypes_bias: scores are cosines plus a number for each prototype, as lightly trains them.
        classes: classes of a linear classifier on the features (`fc`); 0 for none.
    """

    def __init__(
        self,
        backbone: str = "resnet50",
        *,
        width: int = 64,
        stem: Stem = "imagenet",
        channels: int = 3,
        zero_init_residual: bool = False,
        hidden_dim: int = 2048,
        embedding_dim: int = 128,
        prototypes: int = 3000,
        prototypes_bias: bool = False,
        classes: int = 0,
    ) -> None:
        if backbone.startswith(TIMM):
            nn.Module.__init__(self)
            self.backbone, self.feature_dim = make_timm_backbone(backbone.removeprefix(TIMM), channels)
        else:
            super().__init__(backbone, width, stem, channels, zero_init_residual)
        if prototypes and not embedding_dim:
            raise ValueError("prototypes compare embeddings; embedding_dim is 0")
        if embedding_dim and hidden_dim:
            self.projection_head: nn.Module = nn.Sequential(
                nn.Linear(self.feature_dim, hidden_dim),
                nn.BatchNorm1d(hidden_dim),
                nn.ReLU(inplace=True),
                nn.Linear(hidden_dim, embedding_dim),
            )
        elif embedding_dim:
            self.projection_head = nn.Linear(self.feature_dim, embedding_dim)
        if prototypes:
            self.prototypes = nn.Linear(embedding_dim, prototypes, bias=prototypes_bias)
        if classes:
            self.fc = nn.Linear(self.feature_dim, classes)

    def has(self, part: Literal["backbone", "projection_head", "prototypes", "fc"]) -> bool:
        """Whether this network has the part: `backbone` is timm's, and networks that others trained may lack a head."""
        return part in self._modules

    def recompute_blocks(self) -> None:
        """Have each block computed anew in the backward pass, for which its input alone is kept (arXiv 1604.06174).

        Running statistics would count each batch twice: whoever goes backward leaves them alone meanwhile.

        Raises:
            UserError: a network of timm that can't.
        """
        if self.has("backbone"):
            recompute_timm(self.backbone)
        else:
            self.recomputes_blocks = True

    def features(self, x: Tensor) -> Tensor:  # (B, C, H, W) -> (B, F)
        """Pooled features: what is used once training is over."""
        if self.has("backbone"):
            pooled: Tensor = self.backbone(x)
            return pooled
        return super().features(x)

    def embed(self, x: Tensor) -> Tensor:  # (B, C, H, W) -> (B, D)
        """Projected features of unit length."""
        return self.project(self.features(x))

    def scores(self, x: Tensor) -> Tensor:  # (B, C, H, W) -> (B, K)
        """Cosine of each picture with each prototype (with normalised prototypes)."""
        return self.score(self.embed(x))

    def logits(self, x: Tensor) -> Tensor:  # (B, C, H, W) -> (B, classes)
        """What the classifier says of each picture; the softmax of it are probabilities."""
        features = self.features(x)
        with full_precision(features.device):
            return F.linear(features.to(self.fc.weight.dtype), self.fc.weight, self.fc.bias)

    def score(self, embedding: Tensor) -> Tensor:  # (B, D) -> (B, K)
        """Cosine of each embedding with each prototype; in full precision whatever that of the backbone."""
        with full_precision(embedding.device):
            return F.linear(embedding, self.prototypes.weight, self.prototypes.bias)

    def similarity(self, embedding: Tensor) -> Tensor:  # (B, D) -> (B, K)
        """What tells the nearest prototype: cosines, whatever the prototypes' length; scores where they have a bias."""
        scores = self.score(embedding)
        return scores if self.prototypes.bias is not None else scores / self.prototypes.weight.norm(dim=1)

    def forward(self, crops: Tensor | Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """Embeddings (N, D) and scores (N, K) of all crops, in their order.

        Args:
            crops: a tensor for each size of crops, (count B, C, size, size), or one alone; each goes through the
                backbone by itself, and all through the head together.
        """
        sizes = [crops] if isinstance(crops, Tensor) else crops
        embedding = self.project(torch.cat([self.features(each) for each in sizes]))
        return embedding, self.score(embedding)

    def project(self, features: Tensor) -> Tensor:  # (B, F) -> (B, D)
        """Embeddings of unit length from pooled features."""
        projected = self.projection_head(features)
        # Cosines are compared at differences of a hundredth: normalised in full precision.
        with full_precision(features.device):
            return F.normalize(projected if projected.dtype == torch.float64 else projected.float(), dim=1)

    @torch.no_grad()
    def normalize_prototypes(self) -> None:
        """Put every prototype back on the unit sphere; done before each step."""
        self.prototypes.weight.copy_(F.normalize(self.prototypes.weight, dim=1))
