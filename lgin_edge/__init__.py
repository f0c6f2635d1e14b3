"""lgin-edge: make a face in a picture or a camera frame younger or older, on the device that holds the camera."""
