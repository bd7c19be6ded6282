"""`packshot export`."""

from pathlib import Path

import click

from packshot.cli.output import emit, json_option


@click.command()
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--onnx", required=True, type=click.Path(path_type=Path), help="The file to write, FILE.onnx.")
@click.option(
    "--truncation",
    "truncation_psi",
    default=1.0,
    show_default=True,
    help="0 to 1, built in: below 1 more typical, less varied pictures.",
)
@click.option("--overwrite", is_flag=True, help="Replace the file.")
@json_option
def export(run: Path, onnx: Path, truncation_psi: float, overwrite: bool, as_json: bool) -> None:
    """Write the generator of RUN as an ONNX file that makes the same pictures without Packshot."""
    from packshot.core.process import keep_freed_memory
    from packshot.tasks.export import export

    keep_freed_memory()
    result = export(run, onnx, truncation_psi=truncation_psi, overwrite=overwrite)
    emit(
        result,
        as_json,
        lambda: [
            f"{result.file}: z [N, {result.z_dim}] and label [N] to pictures {list(result.shape)}, "
            f"{result.bytes / 1e6:.1f} MB, opset {result.opset}.",
            f"Largest difference to torch on 64 pictures: {result.difference} grey level(s) of 255.",
            f"Pictures per second on {result.threads} threads: torch {result.torch_pictures_per_second:,.0f}, "
            f"ONNX Runtime {result.onnx_pictures_per_second:,.0f}.",
        ],
    )
