"""What a run stands on: device, processes, progress, provenance."""
