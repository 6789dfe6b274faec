"""What the losses of several methods use: moments of classes, and checks of their inputs."""
