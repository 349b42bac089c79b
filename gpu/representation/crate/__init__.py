"""The white-box transformer: coding rates, attention as a gradient step, sparse coding as a layer."""
