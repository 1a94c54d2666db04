"""Semantic segmentation with the DeepLab family: models, data sets, metrics and training for the course."""
