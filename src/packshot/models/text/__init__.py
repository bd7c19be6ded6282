"""Models that know pictures and texts: our own `clip`, and CLIP models that others trained."""

from packshot.models.text.load import TextModel, load_text_model, own_model_file

__all__ = ["TextModel", "load_text_model", "own_model_file"]
