"""`make bench`: every benchmark in turn; docs/benchmarks.md says what each prints."""

from pathlib import Path

from benchmarks import generators, ingest, studio, taste, train_step

CATALOG, OUT = "demo/catalog", "demo/benchmark"
GENERATORS = ["vae", "latent", "vae-gan", "dcgan", "gan-reference"]

train_step.main()
ingest.main()
studio.main(["--out", f"{OUT}-studio", "--only", "start", "overhead", "--pictures", "40", "--turns", "1"])
if Path(CATALOG, "catalog.json").exists():
    # The quick round; docs/benchmarks.md has the command of the full one, with the peers.
    generators.main(["--catalog", CATALOG, "--out", OUT, "--plot", OUT, "--budget", "60", "--only", *GENERATORS])
    taste.main(["--catalog", CATALOG, "--users", "500", "--products", "300", "--no-speed"])
else:
    print(f"generators: there is no {CATALOG} to train on; make it with: make demo")
