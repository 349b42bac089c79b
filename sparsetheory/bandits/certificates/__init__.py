"""Evidence about how far from the best an action can be."""
