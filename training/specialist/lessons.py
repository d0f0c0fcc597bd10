"""What the specialist learns from beside the label: the lesion's mask, and the patient's age and site.

The heads for them are thrown away after training (Caruana 1997, doi:10.1023/A:1007379606734).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ...tools.patient_prior import DECADES, decade_of
from .data import LABELS, Split


@dataclass(frozen=True)
class Targets:
    """What pictures are to be answered with; rows of nothing but zeros are not learnt.

    Attributes:
        kind: Shares of the classes, (n, classes).
        mask: Share of lesion, (n, 1, h, w).
        decade: Age by decades, (n, 9).
        site: One of the sites, (n, sites).
    """

    kind: Tensor
    mask: Tensor
    decade: Tensor
    site: Tensor

    def rows(self, which: Tensor) -> Targets:
        """Some of them, in that order."""
        return Targets(*(getattr(self, f.name)[which] for f in fields(self)))

    def to(self, device: torch.device) -> Targets:
        """The same on a device."""
        return Targets(*(getattr(self, f.name).to(device) for f in fields(self)))

    def mixed(self, share: float) -> Targets:
        """Each blended with the one across, as mixup blends the pictures (arXiv:1710.09412)."""
        values = (getattr(self, f.name).float() for f in fields(self))
        return Targets(*(share * v + (1 - share) * v.flip(0) for v in values))


def targets(side: Split, masks: np.ndarray, smoothing: float) -> Targets:
    """All targets of a side.

    Args:
        side: Pictures with labels and patients.
        masks: bool (n, h, w).
        smoothing: Share of the label that is spread over all classes.
    """
    kind = F.one_hot(torch.from_numpy(side.labels), len(LABELS)).float()
    kind = kind * (1 - smoothing) + smoothing / len(LABELS)
    sites = sorted({p["site"] for p in side.patients if "site" in p})
    decades = [decade_of(p["age"]) if "age" in p else -1 for p in side.patients]
    places = [sites.index(p["site"]) if "site" in p else -1 for p in side.patients]
    return Targets(
        kind, torch.from_numpy(masks)[:, None], _one_hot(decades, DECADES), _one_hot(places, len(sites))
    )


def _one_hot(values: Sequence[int], count: int) -> Tensor:
    """One row each, (n, count); of a value of -1 a row of zeros."""
    return F.one_hot(torch.tensor(values) + 1, count + 1)[:, 1:].float()


class Pupil(nn.Module):
    """A timm ResNet with the two heads that only training needs."""

    def __init__(self, network: nn.Module, sites: int) -> None:
        """Adds fresh heads to `network`."""
        super().__init__()
        net: Any = network
        self.network = network
        self.lesion = nn.Conv2d(net.feature_info[-2]["num_chs"], 1, 1)
        self.decade, self.site = nn.Linear(net.num_features, DECADES), nn.Linear(net.num_features, sites)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Logits of class (n, classes), lesion (n, 1, h', w'), decade (n, 9) and site (n, sites)."""
        net: Any = self.network
        fine = net.layer3(net.layer2(net.layer1(net.maxpool(net.act1(net.bn1(net.conv1(images)))))))
        maps = net.layer4(fine)
        pooled = net.forward_head(maps, pre_logits=True)
        return net.fc(pooled), self.lesion(fine), self.decade(pooled), self.site(pooled)

    def loss(
        self, images: Tensor, wanted: Targets, mask: float, patient: float, taught: Taught | None = None
    ) -> Tensor:
        """Cross-entropy of the class, plus weighted ones of mask and patient; a scalar.

        Args:
            images: In the network's units, (n, 3, h, w).
            wanted: Their targets.
            mask: Weight of the loss of the lesion's mask.
            patient: Weight of the losses of age and site.
            taught: What teachers say of the same pictures.
        """
        kind, lesion, decade, site = self(images)
        total = F.cross_entropy(kind.float(), wanted.kind)
        if taught:
            total = torch.lerp(total, F.cross_entropy(kind.float(), taught.shares), taught.weight)
        if mask:
            marked = F.adaptive_avg_pool2d(wanted.mask, lesion.shape[-2:])
            total = total + mask * F.binary_cross_entropy_with_logits(lesion.float(), marked)
        if patient:
            known = ((decade, wanted.decade), (site, wanted.site))
            total = total + patient * sum(F.cross_entropy(logits.float(), want) for logits, want in known)
        return total


class Taught(NamedTuple):
    """What teachers say: mean probabilities (n, classes), and how much they weigh beside the label, 0..1."""

    shares: Tensor
    weight: float


class Teacher(NamedTuple):
    """A trained network and the (height, width) it learnt at."""

    network: nn.Module
    size: tuple[int, int]


class Teachers:
    """Trained networks that judge the very pictures the pupil sees (Beyer et al. 2022, arXiv:2106.05237).

    Args:
        those: In the units and on the device of the pupil; they are put into evaluation mode.
        weight: How much they weigh beside the label.
    """

    def __init__(self, those: Sequence[Teacher], weight: float) -> None:
        self._those = those
        self._weight = weight
        for teacher in those:
            teacher.network.eval().requires_grad_(False)

    @torch.no_grad()
    def judge(self, images: Tensor) -> Taught:
        """Their mean probabilities of pictures (n, 3, h, w), which each sees at its own size."""
        shares = [
            teacher.network(resized(images, teacher.size)).float().softmax(1) for teacher in self._those
        ]
        return Taught(torch.stack(shares).mean(0), self._weight)


def resized(images: Tensor, size: tuple[int, int]) -> Tensor:
    """Pictures (n, 3, h, w) at another size, smoothed where they shrink."""
    if images.shape[-2:] == size:
        return images
    out = F.interpolate(images.float(), size, mode="bilinear", antialias=True, align_corners=False)
    return out.contiguous(memory_format=torch.channels_last)
