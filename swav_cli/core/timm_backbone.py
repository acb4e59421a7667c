"""Backbones of timm, by name: `timm:convnext_nano`. Their features are timm's own pooled output."""

from __future__ import annotations

from typing import Any

from torch import nn

from swav_cli.errors import UserError, nearest

TIMM = "timm:"


def make_timm_backbone(name: str, channels: int) -> tuple[nn.Module, int]:
    """A network of timm without its classifier, with weights at random, and the size of its features.

    A transformer takes crops of several sizes: its position embedding is interpolated to each.

    Raises:
        UserError: timm is not installed, or has no such network.
    """
    timm = import_timm(name)
    if not timm.is_model(name):
        raise UserError(f"{TIMM}{name}: timm has no network of that name.{nearest(name, timm.list_models())}")
    options: dict[str, Any] = {"pretrained": False, "num_classes": 0, "in_chans": channels}
    try:
        model: nn.Module = timm.create_model(name, dynamic_img_size=True, **options)
    except TypeError:  # a network that takes any size by itself has no such option
        model = timm.create_model(name, **options)
    # Of a network whose head has a hidden layer, as MobileNetV3's, that is what the pooled output is.
    return model, int(getattr(model, "head_hidden_size", None) or model.num_features)  # type: ignore[arg-type]


def recompute_timm(backbone: nn.Module) -> None:
    """Have timm's own parts of the network computed anew in the backward pass.

    Raises:
        UserError: this network can't.
    """
    try:
        backbone.set_grad_checkpointing(True)  # type: ignore[operator]
    except (AttributeError, AssertionError):
        raise UserError(
            f"training.checkpoint_activations (true): timm's {type(backbone).__name__} can't; set it to false"
        ) from None


def import_timm(name: str) -> Any:
    try:
        import timm
    except ImportError:
        raise UserError(f"{TIMM}{name}: needs timm; install it with: pip install 'swav-cli[timm]'") from None
    return timm
