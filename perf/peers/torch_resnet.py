"""MLBench's ResNet-20 v1 for CIFAR-10 in plain PyTorch: same layers, initial values and optimizer as jax_mlperf's.

Facts: He et al. 2015 section 4.2; option B shortcuts as in `mlbench/mlbench-core:mlbench_core/models/pytorch/resnet.py`.
Nothing of jax_mlperf is imported.
"""

import torch.nn.functional as F
from torch import Tensor, nn


def conv(in_features: int, features: int, size: int, stride: int = 1) -> nn.Conv2d:
    """A convolution without bias, padded on both sides."""
    return nn.Conv2d(in_features, features, size, stride=stride, padding=size // 2, bias=False)


class Block(nn.Module):
    """conv-BN-ReLU-conv-BN, add, ReLU; 1x1 convolution and BN on the shortcut where shapes change."""

    def __init__(self, in_features: int, features: int, stride: int):
        super().__init__()
        self.conv1, self.norm1 = conv(in_features, features, 3, stride), nn.BatchNorm2d(features)
        self.conv2, self.norm2 = conv(features, features, 3), nn.BatchNorm2d(features)
        changes = stride != 1 or in_features != features
        self.shortcut = nn.Sequential(conv(in_features, features, 1, stride), nn.BatchNorm2d(features)) if changes else None

    def forward(self, x: Tensor) -> Tensor:
        """[N, in_features, H, W] -> [N, features, H / stride, W / stride]."""
        y = F.relu(self.norm1(self.conv1(x)), inplace=True)
        y = self.norm2(self.conv2(y))
        return F.relu(y + (x if self.shortcut is None else self.shortcut(x)), inplace=True)


class ResNetCifar(nn.Module):
    """Depth 6n+2 with 16, 32 and 64 channels for 32x32 images."""

    def __init__(self, depth: int = 20, num_classes: int = 10):
        super().__init__()
        blocks = (depth - 2) // 6
        self.stem, self.norm = conv(3, 16, 3), nn.BatchNorm2d(16)
        self.blocks = nn.Sequential(*(
            Block(16 << max(0, group - (not block and group > 0)), 16 << group, 2 if group and not block else 1)
            for group in range(3) for block in range(blocks)))
        self.head = nn.Linear(64, num_classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, images: Tensor) -> Tensor:
        """Logits [N, classes] of [N, 3, 32, 32]."""
        x = F.relu(self.norm(self.stem(images)), inplace=True)
        return self.head(self.blocks(x).mean(dim=(2, 3)))
