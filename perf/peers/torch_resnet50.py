"""The PyTorch peer of jax_mlperf.models.resnet: bottleneck ResNet v1.5 with torchvision's names, for perf/resnet50_step.py.

Written from the architecture (stride on the 3x3 convolution, padding 1 around every 3x3 window), not from torchvision's code.
"""

from collections.abc import Sequence

from torch import Tensor, nn

EXPANSION = 4


def conv(in_features: int, out_features: int, kernel_size: int, stride: int = 1) -> nn.Conv2d:
    """A convolution without bias, padded on both sides."""
    return nn.Conv2d(in_features, out_features, kernel_size, stride, padding=kernel_size // 2, bias=False)


class Bottleneck(nn.Module):
    """1x1, 3x3 with the stride, 1x1; a projection when the input has another shape."""

    def __init__(self, in_features: int, width: int, stride: int):
        super().__init__()
        self.conv1, self.bn1 = conv(in_features, width, 1), nn.BatchNorm2d(width)
        self.conv2, self.bn2 = conv(width, width, 3, stride), nn.BatchNorm2d(width)
        self.conv3, self.bn3 = conv(width, EXPANSION * width, 1), nn.BatchNorm2d(EXPANSION * width)
        self.relu = nn.ReLU(inplace=True)
        self.downsample: nn.Module = nn.Identity()
        if stride > 1 or in_features != EXPANSION * width:
            self.downsample = nn.Sequential(conv(in_features, EXPANSION * width, 1, stride), nn.BatchNorm2d(EXPANSION * width))

    def forward(self, x: Tensor) -> Tensor:
        """[B, in, H, W] -> [B, 4 width, H / stride, W / stride]."""
        y = self.relu(self.bn1(self.conv1(x)))
        y = self.relu(self.bn2(self.conv2(y)))
        return self.relu(self.bn3(self.conv3(y)) + self.downsample(x))


class ResNet(nn.Module):
    """ResNet-50 by default; images [B, 3, H, W] -> logits [B, num_classes]."""

    def __init__(self, stage_sizes: Sequence[int] = (3, 4, 6, 3), width: int = 64, num_classes: int = 1000):
        super().__init__()
        self.conv1, self.bn1 = conv(3, width, 7, 2), nn.BatchNorm2d(width)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, 2, padding=1)
        self.stages = len(stage_sizes)
        features = width
        for stage, size in enumerate(stage_sizes):
            blocks = []
            for unit in range(size):
                inner = width * 2**stage
                blocks.append(Bottleneck(features, inner, 2 if stage > 0 and unit == 0 else 1))
                features = EXPANSION * inner
            self.add_module(f"layer{stage + 1}", nn.Sequential(*blocks))
        self.fc = nn.Linear(features, num_classes)

    def forward(self, images: Tensor) -> Tensor:
        """Logits."""
        x = self.maxpool(self.relu(self.bn1(self.conv1(images))))
        for stage in range(self.stages):
            x = self.get_submodule(f"layer{stage + 1}")(x)
        return self.fc(x.mean(dim=(2, 3)))
