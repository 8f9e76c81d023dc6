"""Runtime services of a run: device, processes, progress, provenance."""
