"""Networks in which channels are tied in various ways, with examples of their inputs."""

import torch
from torch import nn
from torch.nn import functional

from sparsetheory.gpu.core.models import MLP, MobileNetV2


class Residual(nn.Module):
    """Two branches are added to what comes in, one written in place."""

    def __init__(self):
        super().__init__()
        self.stem, self.norm = nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8)
        self.first, self.second = nn.Conv2d(8, 8, 1), nn.Conv2d(8, 8, 3, padding=1)
        self.head = nn.Linear(8, 5)

    def forward(self, x):
        x = functional.relu(self.norm(self.stem(x)))
        y = x + self.first(x)
        y += self.second(functional.relu6(y))
        return self.head(functional.adaptive_avg_pool2d(y, 1).flatten(1))


class Joined(nn.Module):
    """Branches lie side by side, then meet the output of one layer, and the input of the network joins, too."""

    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Conv2d(3, 4, 1), nn.Conv2d(3, 6, 3, padding=1)
        self.c, self.d = nn.Conv2d(3, 10, 1), nn.Conv2d(13, 2, 1)

    def forward(self, x):
        both = torch.cat([self.a(x), self.b(x)], dim=1)
        return self.d(torch.cat([torch.tanh(both + self.c(x)), x], 1))


class Flattened(nn.Module):
    """Pooling, then a flattening, a normalisation behind it, and a branch that is added there."""

    def __init__(self):
        super().__init__()
        self.conv, self.norm, self.pool = nn.Conv2d(2, 6, 3), nn.BatchNorm1d(24), nn.MaxPool2d(3)
        self.side, self.head = nn.Linear(2 * 64, 24), nn.Linear(24, 3)

    def forward(self, x):
        flat = self.pool(self.conv(x).relu()).view(x.size(0), -1)
        return functional.log_softmax(self.head(self.norm(flat) + self.side(torch.flatten(x, 1))), dim=1)


class Grouped(nn.Module):
    """Groups of two, a depthwise layer with two outputs for each input, and a transposed way to a linear layer."""

    def __init__(self):
        super().__init__()
        self.stem, self.grouped = nn.Conv2d(3, 8, 1), nn.Conv2d(8, 12, 3, groups=2)
        self.depthwise, self.act = nn.Conv2d(12, 24, 3, groups=12), nn.PReLU(24)
        self.norm, self.head = nn.LayerNorm(24), nn.Linear(24, 4)

    def forward(self, x):
        x = self.act(self.depthwise(self.grouped(self.stem(x))))
        return self.head(self.norm(x.permute(0, 2, 3, 1))).transpose(1, 3)


class Excited(nn.Module):
    """Channels are weighted by what a small network says about their means, and in a fixed order by a parameter."""

    def __init__(self):
        super().__init__()
        self.stem, self.squeeze, self.excite = nn.Conv2d(3, 8, 1), nn.Conv2d(8, 4, 1), nn.Conv2d(4, 8, 1)
        self.wide, self.scale = nn.Conv2d(8, 6, 1), nn.Parameter(torch.linspace(1, 2, 6).reshape(6, 1, 1))
        self.level, self.head = nn.Parameter(torch.tensor(0.5)), nn.Conv2d(6, 2, 1)

    def forward(self, x):
        x = functional.interpolate(self.stem(x), scale_factor=2)
        x = x * torch.sigmoid(self.excite(functional.silu(self.squeeze(x.mean((2, 3), keepdim=True)))))
        return self.head(self.wide(x * self.level) * self.scale)


class Shared(nn.Module):
    """One layer is called twice, so that its outputs are its inputs, and one activation is called everywhere."""

    def __init__(self):
        super().__init__()
        self.stem, self.twice, self.norm = nn.Linear(5, 8), nn.Linear(8, 8), nn.BatchNorm1d(8)
        self.act, self.head = nn.ReLU(), nn.Linear(8, 3)

    def forward(self, x):
        x = self.act(self.norm(self.stem(x)))
        x = self.act(self.norm(self.twice(x)))
        return {"logits": self.head(self.act(self.twice(x))), "shape": x.shape}


class Repeated(nn.Module):
    """The same channels lie side by side twice, and are added to a layer that is so tied to itself."""

    def __init__(self):
        super().__init__()
        self.a, self.b, self.head = nn.Linear(3, 4), nn.Linear(3, 8), nn.Linear(8, 2)

    def forward(self, x):
        a = self.a(x)
        return self.head(torch.relu(torch.cat([a, a], -1) + self.b(x)))


# Model, example, and the number of channels of each set that can be permuted.
NETWORKS = {
    "mlp": (lambda: MLP([6, 12, 9, 4]), (3, 6), [12, 9]),
    "residual": (Residual, (2, 3, 6, 6), [8]),
    "joined": (Joined, (2, 3, 5, 5), [4, 6]),
    "flattened": (Flattened, (2, 2, 8, 8), [6]),
    "grouped": (Grouped, (2, 3, 7, 7), [4, 4, 6, 6]),
    "excited": (Excited, (2, 3, 4, 4), [8, 4]),
    "shared": (Shared, (4, 5), [8]),
    "repeated": (Repeated, (4, 3), [4]),
    "mobilenet": (
        MobileNetV2,
        (1, 3, 32, 32),
        [32, 16, 96, 24, 144, 144, 32, 192, 192, 192, 64, *[384] * 4, 96, *[576] * 3, 160, *[960] * 3, 320, 1280],
    ),
}


def build(name):
    """Return a network in double precision whose normalisations have seen data, an example, and sizes of sets."""
    make, shape, sizes = NETWORKS[name]
    torch.manual_seed(0)
    model, example = make().double(), torch.randn(shape, dtype=torch.float64)
    for module in model.modules():
        for buffer in module.buffers(recurse=False):
            if buffer.is_floating_point():
                buffer.copy_(torch.rand_like(buffer) + 0.5)
        if isinstance(getattr(module, "bias", None), nn.Parameter):
            nn.init.uniform_(module.bias, -0.5, 0.5)
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d | nn.LayerNorm | nn.PReLU):
            for parameter in module.parameters(recurse=False):
                nn.init.uniform_(parameter, 0.5, 1.5)
    return model.eval(), example, sizes


def outputs(model, x):
    """Return the outputs of a network as one tensor."""
    with torch.no_grad():
        found = model(x)
    return found["logits"] if isinstance(found, dict) else found
