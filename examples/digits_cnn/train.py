"""Train the small convolutional network on enlarged digits with PyTorch, and export it to ONNX.

Needs scikit-learn for the data and PyTorch with its ONNX exporter:
``pip install scikit-learn torch onnx onnxscript``.
"""

from __future__ import annotations

import sys
from pathlib import Path

import onnx
import torch
from torch import nn

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))
import digits  # noqa: E402

EPOCHS, BATCH, RATE, DECAY = 40, 32, 3e-3, 1e-4
#: Training images are moved by up to this many pixels, so that the network does not rely on places.
MOVE = 1


def convolution(inputs: int, outputs: int, size: int, groups: int = 1) -> nn.Sequential:
    """Convolution without change of size, batch normalization, relu."""
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, size, padding=size // 2, groups=groups, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(),
    )


def network() -> nn.Sequential:
    """A convolution, then two depthwise-separable ones, then a mean over all pixels and a dense layer."""
    return nn.Sequential(
        convolution(1, 8, 3),
        nn.MaxPool2d(2),
        convolution(8, 8, 3, groups=8), convolution(8, 24, 1),
        nn.MaxPool2d(2),
        convolution(24, 24, 3, groups=24), convolution(24, 48, 1),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Dropout(0.2),
        nn.Linear(48, 10),
    )


def fit(x: torch.Tensor, y: torch.Tensor) -> nn.Sequential:
    """Train with Adam, moved images and a learning rate that falls to zero."""
    torch.manual_seed(0)
    net = network()
    optimizer = torch.optim.Adam(net.parameters(), lr=RATE, weight_decay=DECAY)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, EPOCHS)
    for _ in range(EPOCHS):
        for batch in torch.randperm(len(x)).split(BATCH):
            down, right = torch.randint(-MOVE, MOVE + 1, (2,)).tolist()
            images = torch.roll(x[batch], (down, right), (2, 3))
            optimizer.zero_grad()
            nn.functional.cross_entropy(net(images), y[batch]).backward()
            optimizer.step()
        schedule.step()
    return net.eval()


@torch.no_grad()
def accuracy(net: nn.Sequential, x: torch.Tensor, y: torch.Tensor) -> float:
    """Share of samples whose largest output is the right one."""
    return float((net(x).argmax(dim=1) == y).float().mean())


def tensors(samples: digits.Digits) -> tuple[torch.Tensor, torch.Tensor]:
    """Images [samples, 1, 28, 28] in 0 .. 1, and labels."""
    return torch.tensor(samples.x[:, None]).float() * digits.PIXEL, torch.tensor(samples.y)


def main() -> None:
    """Train, print the accuracy, write the three files."""
    torch.set_num_threads(1)
    train, evaluation = digits.load()
    net = fit(*tensors(train))
    print(f"accuracy: training {accuracy(net, *tensors(train)):.4f}, "
          f"evaluation {accuracy(net, *tensors(evaluation)):.4f}")
    example = torch.zeros(1, 1, digits.SIZE, digits.SIZE)
    program = torch.onnx.export(nn.Sequential(net, nn.Softmax(dim=1)).eval(), (example,), dynamo=True, verbose=False,
                                input_names=["image"], output_names=["probability"])
    assert program is not None
    save(program.model_proto)
    digits.save(HERE, train, evaluation, (1, digits.SIZE, digits.SIZE))


def save(model: onnx.ModelProto) -> None:
    """Write the model without the exporter's notes, which hold paths of the machine it ran on."""
    del model.metadata_props[:], model.graph.metadata_props[:]
    for item in (*model.graph.node, *model.graph.value_info, *model.graph.input, *model.graph.output):
        del item.metadata_props[:]
    model.graph.name = "digits_cnn"
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, HERE / "model.onnx")


if __name__ == "__main__":
    main()
