"""Semi-supervised segmentation: U²PL with the hardness-weighted labelled loss."""
