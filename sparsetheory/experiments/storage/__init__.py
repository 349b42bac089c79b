"""What runs keep on disk, and what a kept result depends on."""
