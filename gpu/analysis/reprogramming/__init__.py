"""What a sparse network is worth for another task: probes, prompts, label maps, calibration."""
