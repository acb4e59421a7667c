"""What a run tells TensorBoard, Weights & Biases and their like, where it was asked to."""
