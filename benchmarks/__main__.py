"""`make bench`: every benchmark in turn; docs/benchmarks.md says what each prints."""

from benchmarks import ingest, train_step

train_step.main()
ingest.main()
