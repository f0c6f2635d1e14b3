"""The full LGIN GAN in PyTorch: networks, losses, data, fitting and export. Run from a checkout: ``python -m training.fit``."""
