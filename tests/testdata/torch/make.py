"""Makes the files of this folder; needs PyTorch."""

import argparse
import os

import torch


class RunsCode:
    def __reduce__(self):
        return os.mkdir, ("made_by_a_pickle",)


counted = torch.arange(24, dtype=torch.float32).reshape(2, 3, 4)
plain = {
    "whole": counted,
    "row": counted[1, 2],  # a view into the storage of the first
    "turned": counted.permute(2, 0, 1),
    "half": torch.tensor([1.5, -2.0], dtype=torch.float16),
    "brain": torch.tensor([1.5, -2.0], dtype=torch.bfloat16),
    "double": torch.tensor([1.5, -2.0], dtype=torch.float64),
    "count": torch.tensor(3),
    "bools": torch.tensor([True, False]),
    "bytes": torch.tensor([0, 255], dtype=torch.uint8),
    "empty": torch.zeros(0, 5),
    "parameter": torch.nn.Parameter(torch.ones(2)),
}
settings = {"epoch": 3, "args": argparse.Namespace(lr=0.1), "best": torch.tensor(76.1), "hook": RunsCode()}
network = torch.nn.Linear(2, 2)
momentum = torch.optim.SGD(network.parameters(), lr=0.1, momentum=0.9)

FILES = {
    "plain": plain,
    "wrapped": {"state_dict": {f"module.{name}": tensor for name, tensor in plain.items()}, **settings},
    "with_optimizer": {"model": network.state_dict(), "optimizer": momentum.state_dict()},
    "network": network,
    "tensor": counted,
    "no_tensors": {"epoch": 3, "weights": {"a": torch.ones(2)}},
    "numbered": {1: torch.ones(2)},
    "sparse": {"a": torch.eye(2).to_sparse()},
    "meta": {"a": torch.empty(2, device="meta")},
    "swollen": {"a": torch.ones(1).expand(10**6, 10**6)},
    "complex": {"a": torch.ones(2, dtype=torch.complex64)},
}
for name, contents in FILES.items():
    torch.save(contents, f"{name}.pth")
    if name in ("plain", "wrapped", "network"):
        torch.save(contents, f"{name}_old.pth", _use_new_zipfile_serialization=False)
