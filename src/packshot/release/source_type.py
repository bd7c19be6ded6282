"""From what was done to what is said: the IPTC digital source type of a picture, from its history.

| the history holds | source type |
|---|---|
| capture, classical work | as it was declared before, else nothing is claimed |
| a network changed a captured picture, or cut it out ("learned") | algorithmicallyEnhanced |
| a part of a captured picture was made ("generated" after "capture") | compositeWithTrainedAlgorithmicMedia |
| a network made the picture ("generated" alone) | trainedAlgorithmicMedia |

What a file declared before is never weakened. Terms: https://cv.iptc.org/newscodes/digitalsourcetype/
"""

from collections.abc import Sequence

from packshot.core.errors import PackshotError
from packshot.images import xmp
from packshot.images.picture import Operation

# From the weakest statement about artificial origin to the strongest; terms that are not here say nothing about it.
STRENGTH = ("algorithmicallyEnhanced", *xmp.SYNTHETIC)


def derive_source_type(history: Sequence[Operation], declared: str | None = None) -> str | None:
    """Returns the IPTC term for a picture with this history, or None where nothing can be claimed.

    A captured picture that declared nothing stays without a term: the file may come from a camera, a scanner or a
    render, and calling it digitalCapture would be a guess.

    Args:
        history: what was done, oldest first.
        declared: the term that the picture's XMP carries, or None.

    Raises:
        PackshotError: the history does not say where the pixels came from.
    """
    origins = {operation.origin for operation in history}
    if not origins & {"capture", "generated"}:
        raise PackshotError(
            "This picture's history does not say where it came from, so it cannot be labelled; "
            "start it with an operation of origin 'capture' or 'generated'."
        )
    derived: str | None
    if "generated" in origins:
        derived = "compositeWithTrainedAlgorithmicMedia" if "capture" in origins else "trainedAlgorithmicMedia"
    else:
        derived = "algorithmicallyEnhanced" if "learned" in origins else None
    terms = [declared, *(operation.params.get("source_type") for operation in history), derived]
    return strongest([term for term in terms if isinstance(term, str)])


def strongest(terms: Sequence[str | None]) -> str | None:
    """Returns the term that says most about artificial origin, the first of equals; None: there is none."""
    return max((term for term in terms if term), key=_strength, default=None)


def _strength(term: str) -> int:
    known = [t.lower() for t in STRENGTH]
    return known.index(term.lower()) if term.lower() in known else -1
