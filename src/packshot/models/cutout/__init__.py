"""The matting network of `cutout`, and the matting networks that a user brings as ONNX files."""
