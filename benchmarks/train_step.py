"""How much of torch's own convolution rate does a training step reach? And what do loader and logging cost?

The layers' own rate: every convolution and linear layer of the networks, alone, on the same input shapes and memory
format, forward and backward, as often as one step uses it. The step: what `packshot train` runs. Both are timed in
turns in this process; the ratio is the share of a step that is convolution at torch's own speed.

    python -m benchmarks.train_step
"""

import argparse
import json
import time
from collections.abc import Callable

import numpy as np
import torch
from lightning_fabric import Fabric
from torch import nn

from packshot.core.process import keep_freed_memory
from packshot.core.progress import Progress as Bar
from packshot.models.ranges import to_model
from packshot.models.spec import PictureSpec
from packshot.models.table import MODELS
from packshot.training.checkpoint import Progress
from packshot.training.data import Batches, Noise
from packshot.training.ema import make_ema, update_ema
from packshot.training.hooks import LogHook
from packshot.training.loop import LoopState
from packshot.training.presets import resolve_config
from packshot.training.run import STEPS
from packshot.training.step import Batch

LAYERS = (nn.Conv2d, nn.ConvTranspose2d, nn.Linear)


def seconds(action: Callable[[], object], repeat: int) -> float:
    """Returns the median CPU-seconds of `action` (the steady figure on shared machines)."""
    times = []
    for _ in range(repeat):
        start = time.process_time()
        action()
        times.append(time.process_time() - start)
    return float(np.median(times))


def measure(model: str, size: int, channels: int, rounds: int) -> dict[str, object]:
    config = resolve_config(model=model)
    entry, spec = MODELS[model], PictureSpec(size=size, channels=channels, categories=10)
    networks = {role: build(config.net, spec) for role, build in entry.networks.items()}
    step = STEPS[entry.family](networks, config.objective)
    for network in networks.values():
        network.to(memory_format=torch.channels_last)
    ema, fabric = make_ema(networks[entry.sampler]), Fabric(accelerator="cpu", devices=1)
    n = config.loop.batch_size
    images = np.random.default_rng(0).integers(0, 256, (4096, size, size, channels), dtype=np.uint8)
    batches, noise = Batches(images, np.arange(4096) % 10, batch_size=n, seed=0), Noise(0, n)
    count = {"step": 0}

    def load() -> tuple[torch.Tensor, torch.Tensor]:
        x, y, _ = batches.at(count["step"])
        return to_model(x), y

    def one_step() -> None:
        x, y = load()
        terms = step(Batch(x, y, 1, lambda name, dim: noise.at(name, count["step"], dim)), fabric)
        update_ema(ema, networks[entry.sampler], 0.99)
        state.terms = terms
        count["step"] += 1

    state = LoopState(Progress())
    log = LogHook(None, config.loop, Bar("", quiet=True), state, fabric)

    def log_row() -> None:
        state.progress.step = state.progress.step + 1
        log(state)

    calls: list[tuple[nn.Module, torch.Size, bool, bool]] = []
    hooks = [
        layer.register_forward_hook(
            lambda m, x, y: calls.append((m, x[0].shape, x[0].requires_grad, m.weight.requires_grad))
        )
        for network in networks.values()
        for layer in network.modules()
        if isinstance(layer, LAYERS)
    ]
    one_step()
    for hook in hooks:
        hook.remove()
    alone = []
    for layer, shape, wants_gradient, trains in calls:
        x = torch.randn(shape)
        x = x.contiguous(memory_format=torch.channels_last) if x.dim() == 4 else x
        x.requires_grad_(wants_gradient)
        with torch.no_grad():
            out = layer(x)
        alone.append((layer, x, torch.randn_like(out), trains))

    def layers_alone() -> None:
        for layer, x, gradient, trains in alone:
            layer.requires_grad_(trains)
            layer(x).backward(gradient)
            layer.requires_grad_(True)

    for _ in range(3):
        one_step()
        layers_alone()
    times: dict[str, list[float]] = {"step": [], "layers": [], "loader": [], "logging": []}
    for _ in range(rounds):
        for name, action in (("step", one_step), ("layers", layers_alone), ("loader", load), ("logging", log_row)):
            times[name].append(seconds(action, 3))
    t = {name: float(np.median(v)) for name, v in times.items()}
    return {
        "model": model,
        "size": size,
        "channels": channels,
        "batch": n,
        "cpu_ms_step": round(1000 * t["step"], 2),
        "cpu_ms_layers_alone": round(1000 * t["layers"], 2),
        "conv_rate_share": round(t["layers"] / t["step"], 3),
        "loader_and_logging_share": round((t["loader"] + t["logging"]) / t["step"], 4),
        "img_per_cpu_s": round(n / t["step"], 1),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=12)
    rounds = parser.parse_args().rounds
    keep_freed_memory()
    cases = (("vae", 32, 1), ("vae", 64, 3), ("dcgan", 32, 1), ("gan-reference", 28, 1))
    rows = [measure(model, size, channels, rounds) for model, size, channels in cases]
    columns = (
        ("px", 4),
        ("ch", 3),
        ("step ms", 9),
        ("layers ms", 10),
        ("conv share", 11),
        ("load+log", 9),
        ("img/CPU-s", 10),
    )
    print(f"{'model':14}" + "".join(f"{name:>{width}}" for name, width in columns))
    for r in rows:
        print(
            f"{r['model']:14}{r['size']:>4}{r['channels']:>3}{r['cpu_ms_step']:>9}{r['cpu_ms_layers_alone']:>10}"
            f"{r['conv_rate_share']:>11}{r['loader_and_logging_share']:>9}{r['img_per_cpu_s']:>10}"
        )
    print(json.dumps({"benchmark": "train_step", "threads": torch.get_num_threads(), "rows": rows}))


if __name__ == "__main__":
    main()
