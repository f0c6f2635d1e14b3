"""Video files: a film with its faces at another age (``transcode``), a recorded camera, and a window that shows one."""
