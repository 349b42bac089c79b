"""Statistics of labelled and unlabelled point clouds."""
