"""Updates of the variances from a posterior, one file each."""
