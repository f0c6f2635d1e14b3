"""T as small as tests of it need."""

from training.networks import NetworkConfig

SMALL = NetworkConfig(
    face_size=64,
    patch_size=32,
    global_widths=(16, 16, 32),
    global_blocks=1,
    decoder_width=16,
    local_blocks=1,
    layers=3,
    texture_size=32,
)
