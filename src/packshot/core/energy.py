"""An estimate of the energy that a computation took, from its time and a stated assumption. Nothing is measured.

Letters: t wall seconds, c CPU-seconds, m memory in GiB, n devices, P watts.

    E = (c P_core + t m P_memory + t n P_device) / 3600    watt-hours

Source: Lannelongue, Grealey, Inouye 2021, "Green Algorithms", arXiv:2007.07610: its power for an unknown core and for
memory, with every core-second at full power, and without what a building adds (PUE 1).
"""

from typing import Any

WATTS_PER_CORE = 12.0
WATTS_PER_GIB = 0.3725
WATTS_PER_DEVICE = 300.0
"""Of a GPU that is in no row below."""

DEVICES = {"H100": 700.0, "H200": 700.0, "A100": 400.0, "L40": 300.0, "L4": 72.0, "T4": 70.0, "4090": 450.0}
"""Watts (TDP as the makers state it) by a part of a GPU's name."""

ASSUMPTION = (
    "Every CPU-second at {core:g} W (a share of a processor's TDP), memory at {memory:g} W per GiB{device}; cooling "
    "and losses not counted. An estimate that can be wrong by a factor of three; nothing was measured."
)


def estimate_energy(
    *, seconds: float, cpu_seconds: float, memory: float, devices: int = 0, device: str = ""
) -> dict[str, Any]:
    """Returns the estimate, in watt-hours, and what it assumes.

    Args:
        seconds: wall time.
        cpu_seconds: of all threads and processes.
        memory: most bytes held, of all processes.
        devices: GPUs that were busy all the time.
        device: their name.
    """
    watts = next((w for name, w in DEVICES.items() if name in device), WATTS_PER_DEVICE) if devices else 0.0
    joules = cpu_seconds * WATTS_PER_CORE + seconds * (memory / 2**30 * WATTS_PER_GIB + devices * watts)
    told = f", each {device or 'device'} at {watts:g} W" if devices else ""
    return {
        "estimate_wh": float(f"{joules / 3600:.3g}"),
        "watts_per_core": WATTS_PER_CORE,
        "watts_per_gib": WATTS_PER_GIB,
        "watts_per_device": watts,
        "assumption": ASSUMPTION.format(core=WATTS_PER_CORE, memory=WATTS_PER_GIB, device=told),
    }
