"""What was measured and checked, in words for people."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from packshot.core.errors import UsageError
from packshot.jobs.records import Item, Job
from packshot.release.channels import load_channel
from packshot.server.pages.frame import N_, Words
from packshot.server.pages.sentences import step_name

STATES = {
    "queued": (N_("Waiting"), "waiting"),
    "running": (N_("Running"), "running"),
    "done": (N_("Done"), "done"),
    "failed": (N_("Failed"), "failed"),
    "cancelled": (N_("Cancelled"), "waiting"),
}
ITEMS = {
    "waiting": (N_("Waiting"), "waiting"),
    "done": (N_("Done"), "done"),
    "review": (N_("Needs a look"), "review"),
    "refused": (N_("Held back"), "refused"),
    "failed": (N_("Failed"), "failed"),
}
DECISIONS = {"approved": (N_("Approved"), "done"), "rejected": (N_("Rejected"), "failed")}
SOURCES = {
    "trainedAlgorithmicMedia": N_("Made by AI"),
    "compositeWithTrainedAlgorithmicMedia": N_("A photo that AI changed in part"),
    "algorithmicallyEnhanced": N_("A photo that AI improved"),
    "digitalCapture": N_("A photo"),
    "compositeCapture": N_("Several photos in one"),
    "humanEdits": N_("A photo that a person edited"),
    "digitalCreation": N_("Drawn by a person"),
}
CHANNELS = {
    "google-merchant": N_("Google Merchant"),
    "amazon-main": N_("Amazon, main picture"),
    "amazon-secondary": N_("Amazon, further pictures"),
    "generic": N_("Any shop"),
}


@dataclass(frozen=True, kw_only=True)
class Said:
    """One line of what was found.

    Attributes:
        kind: "pass", "fail", "advice" or "unknown".
        title: of whom it is said.
        text: what.
    """

    kind: str
    title: str
    text: str


def state_of(item: Item) -> tuple[str, str]:
    """Returns an item's state in English words, and its kind of badge; a person's decision goes before."""
    return DECISIONS[item.decision] if item.decision else ITEMS[item.state]


def say_receipt(receipt: Mapping[str, Any] | None, _: Words, tell: Words) -> list[Said]:
    """Returns what a receipt proves, a line for each step that has one."""
    if not receipt:
        return []
    if "passed" in receipt:
        return [_proof(_("Product proof"), receipt, _, tell)]
    return [_proof(step_name(name, _), part, _, tell) for name, part in receipt.items() if isinstance(part, Mapping)]


def _proof(title: str, receipt: Mapping[str, Any], _: Words, tell: Words) -> Said:
    if not receipt.get("passed"):
        broken = "; ".join(tell(str(one)) for one in receipt.get("broken", ()))
        return Said(kind="fail", title=title, text=_("The product is not what it was: {what}.", what=broken))
    if receipt.get("pixels") == 0:
        return Said(kind="unknown", title=title, text=_("Nothing of the product could be compared."))
    limits = receipt.get("limits") or {}
    if limits.get("identical_outside") and receipt.get("bit_identical_outside"):
        text = _("Outside of the repainted area no pixel changed, bit for bit.")
    elif receipt.get("bit_identical"):
        text = _("All {n} pixels of the product are those of the photo, bit for bit.", n=receipt["pixels"])
    elif (p99 := receipt.get("delta_e_p99")) is not None:
        seen = _("cannot be seen") if p99 < 1 else _("can just be seen side by side") if p99 < 3 else _("can be seen")
        text = _("99 % of the product's pixels changed by less than {d:.1f} ΔE, which {seen}.", d=p99, seen=seen)
    else:
        text = _("Its limits hold.")
    agreement = receipt.get("text_agreement")
    if agreement is not None and not receipt.get("bit_identical"):
        text += " " + _("Text on it kept {share:.0%} of its strokes.", share=agreement)
    return Said(kind="pass", title=title, text=text)


def say_checks(job: Job, item: Item, size: int | None, _: Words, tell: Words) -> list[Said]:
    """Returns what the channel's rules say of an item's result; what failed is first.

    Args:
        job: the item's.
        item: a picture of the job.
        size: of the result's file in bytes, which was not known when it was checked; None: there is no result.
        _: the page's words.
        tell: shows what tasks say.
    """
    found = item.figures.get("check")
    channel = channel_of(job)
    if not isinstance(found, Mapping) or channel is None:
        return []
    try:
        rules = {rule.id: rule for rule in load_channel(channel).rules}
    except UsageError:  # A channel of another version of Packshot.
        rules = {}
    said = []
    for name, finding in found.items():
        rule, status, seen = rules.get(name), str(finding.get("status", "unknown")), str(finding.get("seen", ""))
        if rule is not None and rule.check == "megabytes" and size is not None:
            status, seen = "pass" if size <= rule.params["at_most"] * 1e6 else "fail", f"{size / 1e6:.1f} MB"
        kind = status if status in ("pass", "fail", "advice") else "unknown"
        said.append(
            Said(kind=kind, title=tell(name if rule is None else rule.text), text=_("Seen: {what}", what=tell(seen)))
        )
    return sorted(said, key=lambda one: ("fail", "advice", "unknown", "pass").index(one.kind))


def channel_of(job: Job) -> str | None:
    """Returns the channel that a job is for."""
    for step in job.request.steps:
        if isinstance(step.get("channel"), str):
            return str(step["channel"])
    return job.request.output.channel
