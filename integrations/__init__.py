"""RegionViT as a backbone of other libraries: PaddleDetection and PaddleSeg."""
